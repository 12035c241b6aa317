"""What is kept on disk: networks, checkpoints, files."""
