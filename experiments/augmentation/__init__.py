"""Classifiers on a few real images, with and without those of a model that has seen no others."""
