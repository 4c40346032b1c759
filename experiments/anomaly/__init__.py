"""Anomalies by diffusion and consistency models, beside methods without a network."""
