"""One file per run, each with `get_config(arg)`; its docstring is the command, the cost and the expected result."""
