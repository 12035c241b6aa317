"""Training: steps, programs on devices, loops, and what a run leaves behind."""
