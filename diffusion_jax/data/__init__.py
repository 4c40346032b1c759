"""Data: where samples come from, and batches as a function of the step."""
