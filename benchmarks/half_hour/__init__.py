"""A benchmark of half an hour on an accelerator: checks, speed and training."""
