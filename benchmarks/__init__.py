"""Benchmarks of speed, memory and precision.

Each file is a command with `--help`, except `measure`, `task` and `eager_torch`, which
the commands share.
"""
