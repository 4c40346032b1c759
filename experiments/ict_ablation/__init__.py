"""Improved consistency training, ingredient by ingredient."""
