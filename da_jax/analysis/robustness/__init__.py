"""How well students stand up to Disagreement Augmentation, attacks and corruptions."""
