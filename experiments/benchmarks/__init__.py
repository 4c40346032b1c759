"""Speed, side by side with diffusers on PyTorch."""
