"""Files of other projects, read without PyTorch: weights, and official networks by tables of their names."""
