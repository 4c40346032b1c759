"""Official networks as workdirs, and workdirs as what other programs load."""
