"""Launching of runs and sweeps elsewhere: text for bash, SLURM, a Cloud TPU slice or GKE, and no dependency."""
