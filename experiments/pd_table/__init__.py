"""Progressive distillation's results."""
