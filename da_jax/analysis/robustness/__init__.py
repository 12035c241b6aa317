"""Robustness to Disagreement Augmentation, adversarial attacks and corruptions."""
