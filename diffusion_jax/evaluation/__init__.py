"""Evaluation: distances in a stated feature space, and the protocol without which they are not numbers."""
