"""Speed, measured side by side. Each file but `measure` is a command with `--help`."""
