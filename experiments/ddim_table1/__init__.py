"""DDIM's Table 1 (arXiv 2010.02502): sample quality over the number of steps S and eta, from one trained model."""
