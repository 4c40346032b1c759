"""Files of other projects: weights in PyTorch's format, read without PyTorch."""
