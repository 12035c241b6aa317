"""Half an hour on an accelerator: checks, speed and real training, in short calls."""
