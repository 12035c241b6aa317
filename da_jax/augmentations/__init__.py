"""AUGMENTATIONS: what may happen to a batch before the student is trained on it."""

from da_jax.augmentations.baselines import FGSM, PGD, RandomDirection
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.augmentations.interface import Augmentation, Augmented, Context

__all__ = ["AUGMENTATIONS", "Augmentation", "Augmented", "Context"]

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "none": Augmentation,
    "disagreement": DisagreementAugmentation,
    "fgsm": FGSM,
    "noise": RandomDirection,
    "pgd": PGD,
}
"""Name to class; its config section has the same name, or its `config_section`."""
