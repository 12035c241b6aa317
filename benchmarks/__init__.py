"""Speed and memory, measured side by side. Each file is a command with `--help`."""
