"""Reports of runs: an HTML page, a Markdown table and charts. Doesn't import JAX."""
