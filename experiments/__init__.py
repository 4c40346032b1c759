"""Programs built on the package: the quickstart, benchmarks, paper tables."""
