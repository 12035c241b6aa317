"""What trained networks do: predictions, ascents, pictures, robustness, reports."""
