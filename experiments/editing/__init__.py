"""Zero-shot restoration, measured by a classifier."""
