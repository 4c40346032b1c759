"""DDPM, DDIM and consistency models."""
