"""Disagreement Augmentation and its baselines, as gradient ascent of a batch."""

from da_jax.ascent.ascend import Ascended, ascend
from da_jax.ascent.baselines import fgsm, noise, pgd
from da_jax.ascent.disagreement import disagreement_augment
from da_jax.ascent.plateau import reduce_on_plateau

__all__ = [
    "Ascended",
    "ascend",
    "disagreement_augment",
    "fgsm",
    "noise",
    "pgd",
    "reduce_on_plateau",
]
