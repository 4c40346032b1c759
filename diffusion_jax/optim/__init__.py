"""What becomes of parameters from step to step: averages, targets and teachers, learning rates, bad updates."""
