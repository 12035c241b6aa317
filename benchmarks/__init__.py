"""Speed and precision, measured side by side.

Each file is a command with `--help`, but for what they share: `measure`, `problem` and
`eager_torch`.
"""
