"""Continuous-time consistency models, ingredient by ingredient."""
