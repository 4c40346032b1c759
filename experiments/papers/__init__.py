"""Paper tables: the paper's numbers and claims as data, the runs that make each cell, and the filled table."""
