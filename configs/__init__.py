"""Bundled configs: a file per student, and `default`, which they start from."""
