"""The folder of a run: its files, its checkpoints read back, where they can be."""
