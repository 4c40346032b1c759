"""DDPM, DDIM, consistency models and their successors: pure functions on a small verified core."""
