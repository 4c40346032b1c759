"""A training run: its state and step, the loop around them, checkpoints, logs, throughput."""
