"""EDM's Table 2."""
