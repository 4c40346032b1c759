"""What papers, sweeps and tuning share: runs to train, what is measured of them, and processes that share the work."""
