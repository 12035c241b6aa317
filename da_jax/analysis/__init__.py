"""Analysis of trained networks: predictions, ascents, pictures, robustness, reports."""
