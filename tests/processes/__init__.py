"""Windows in child processes."""
