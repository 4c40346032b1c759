"""DDIM's Table 2 (arXiv 2010.02502): error of encoding x_0 -> x_T and decoding it again, over the number of steps S."""
