"""Bundled model folders: the digits' teacher. Converted models go beside it."""
