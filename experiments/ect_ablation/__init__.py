"""Easy consistency tuning, ingredient by ingredient."""
