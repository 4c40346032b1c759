"""MeanFlow's Table 1."""
