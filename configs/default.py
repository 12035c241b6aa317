"""Configs of distillation on CIFAR-100, as the original has them.

A config file's `get_config(variant)` starts from `create` and changes what differs. Its
fields are in `da_jax/config/defaults.py`. A variant is words joined by commas, in any
order, at most one of each kind:

- the teacher, one of the file's (the first is the default);
- the method, a key of `methods` (KD by default), with mdistiller's numbers for it;
- `da`, distillation with Disagreement Augmentation (the default), or without: `kd`, or
  `none`, which reads better beside another method; or `fgsm`, `noise`, `pgd`;
- `lr0.05`, the original's learning rate (the default), or `lr0.01`, mdistiller's for
  MobileNetV2 and the ShuffleNets.
"""

from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from da_jax.augmentations import AUGMENTATIONS as BUNDLED
from da_jax.config.defaults import defaults, sections
from da_jax.errors import UserError, unknown_name
from da_jax.methods import METHODS

AUGMENTATIONS = {"da": "disagreement", "kd": "none"}
AUGMENTATIONS |= {name: name for name in BUNDLED if name != "disagreement"}
LEARNING_RATES = {"lr0.05": 0.05, "lr0.01": 0.01}

PAIRS: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("resnet110", "resnet32"): {"DKD": {"beta": 2.0}},
    ("resnet56", "resnet20"): {"DKD": {"beta": 2.0}},
    ("vgg13", "MobileNetV2"): {"DKD": {"beta": 6.0}},
    ("vgg13", "vgg8"): {"DKD": {"beta": 6.0}},
    ("wrn_40_2", "wrn_16_2"): {"DKD": {"beta": 6.0}},
    ("wrn_40_2", "wrn_40_1"): {"DKD": {"beta": 6.0}},
    ("resnet32x4", "resnet8x4"): {"ReviewKD": {"review_weight": 5.0}},
}
"""What mdistiller's configs have differently for a pair of teacher and student."""


def create(student: str, teachers: Collection[str], variant: str) -> ConfigDict:
    """Distillation into `student` on CIFAR-100, as the original has it.

    Args:
      student: its architecture.
      teachers: the architectures of its teachers. Converted weights are expected in
        `checkpoints/TEACHER`.
      variant: as above.

    Raises:
      UserError: an unknown word in the variant, or two of a kind.
    """
    kinds = [
        list(teachers),
        [name for name in methods()],
        list(AUGMENTATIONS),
        list(LEARNING_RATES),
    ]
    teacher, method, augmentation, rate = _choose(variant, kinds)
    words = [teacher, student, augmentation]
    if method != "KD":
        words.insert(2, method)
    config = defaults("_".join(words), student)
    config.method = method
    config.update(PAIRS.get((teacher, student), {}))
    config.teacher.model = teacher
    config.teacher.checkpoint = f"checkpoints/{teacher}"
    config.augmentation = AUGMENTATIONS[augmentation]
    config.optimizer.learning_rate = LEARNING_RATES[rate]
    if rate != "lr0.05":
        config.name += f"_{rate}"
    return config


def create_teacher(student: str) -> ConfigDict:
    """Training of `student` from scratch on CIFAR-100, by mdistiller's recipe."""
    config = defaults(f"teacher_{student}", student)
    config.method = "vanilla"
    config.augmentation = "none"
    return config


def _choose(variant: str, kinds: list[list[str]]) -> list[str]:
    """The word of each kind in `variant`, or the kind's first."""
    words = [word for word in variant.split(",") if word]
    known = [word for kind in kinds for word in kind]
    for word in words:
        if word not in known:
            raise unknown_name("variant", word, known)
    chosen = [[word for word in words if word in kind] for kind in kinds]
    for several in chosen:
        if len(several) > 1:
            raise UserError(f"the variant has both {' and '.join(several)}")
    return [
        word[0] if word else kind[0] for word, kind in zip(chosen, kinds, strict=True)
    ]


def methods() -> dict[str, dict[str, Any]]:
    """Returns the config section of each method, with mdistiller's values."""
    return sections(METHODS)
