"""Consistency models' Figure 3."""
