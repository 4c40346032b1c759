"""Improved DDPM's Tables 1 and 2."""
