"""What there is to see of runs, as pages for a browser: nothing here writes into a run."""
