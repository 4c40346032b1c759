"""DDPM's Table 2."""
