"""Spaces for experiments.tune, to use and to start from."""
