"""Networks, checkpoints and files on disk."""
