"""Error against evaluations on mixtures, where the exact end points are known."""
