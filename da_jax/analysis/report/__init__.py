"""A report of runs: an HTML page and a Markdown table. Without JAX."""
