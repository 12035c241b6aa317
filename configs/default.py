"""Configs of distillation on CIFAR-100, with the original's values.

The `get_config(variant)` of each file starts from `create` and changes what differs.
The fields are in `da_jax/config/defaults.py`. A variant is a comma-separated list of
words, in any order, with at most one of each kind:

- a teacher of the file (by default the first);
- a method, a key of `methods` (by default KD), with mdistiller's hyperparameters, or
  those of its authors if it is later;
- an augmentation: `da` (the default) is Disagreement Augmentation; `kd` and `none` are
  no augmentation; or `fgsm`, `noise`, `pgd`;
- a learning rate: `lr0.05` (the default), the original's, or `lr0.01`, mdistiller's for
  MobileNetV2 and the ShuffleNets;
- `later`, the original's later settings, for KD and MLKD: logit standardisation,
  temperature 2 and weights 0.1 and 9; DA ascends the Kullback-Leibler divergence with
  α = 0.00192 and p = 0.268, no plateau rule, and unchanged batch statistics.
"""

from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from da_jax.augmentations import AUGMENTATIONS as BUNDLED
from da_jax.config.defaults import defaults
from da_jax.config.fields import sections
from da_jax.errors import UserError, unknown_name
from da_jax.methods import METHODS

AUGMENTATIONS = {"da": "disagreement", "kd": "none"}
AUGMENTATIONS |= {name: name for name in BUNDLED if name != "disagreement"}
LEARNING_RATES = {"lr0.05": 0.05, "lr0.01": 0.01}
LATER_METHODS = ("KD", "MLKD")
LATER_METHOD = {
    "logit_standardization": True,
    "temperature": 2.0,
    "ce_weight": 0.1,
    "kd_weight": 9.0,
}
LATER_ASCENT = {
    "divergence": "kl",
    "logit_standardization": True,
    "update_batch_stats": False,
    "reduce_on_plateau": False,
    "learning_rate": 0.00192,
    "probability": 0.268,
}
"""What `later` sets, from the original's src/engine/cfg.py and src/configs/cifar100."""

ACROSS_FAMILIES: dict[str, dict[str, float]] = {"SDD": {"finest": 4}}

PAIRS: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("ResNet50", "MobileNetV2"): ACROSS_FAMILIES,
    ("resnet110", "resnet32"): {"DKD": {"beta": 2.0}},
    ("resnet32x4", "ShuffleV1"): {
        **ACROSS_FAMILIES,
        "WKD_L": {"kd_weight": 200.0, "temperature": 6.0},
    },
    ("resnet32x4", "ShuffleV2"): ACROSS_FAMILIES,
    ("resnet32x4", "resnet8x4"): {"ReviewKD": {"review_weight": 5.0}},
    ("resnet32x4", "wrn_16_2"): ACROSS_FAMILIES,
    ("resnet32x4", "wrn_40_2"): ACROSS_FAMILIES,
    ("resnet56", "resnet20"): {"DKD": {"beta": 2.0}, "SDD": {"beta": 2.0}},
    ("vgg13", "MobileNetV2"): {"DKD": {"beta": 6.0}, **ACROSS_FAMILIES},
    ("vgg13", "vgg8"): {"DKD": {"beta": 6.0}, "SDD": {"beta": 6.0}},
    ("wrn_40_2", "MobileNetV2"): ACROSS_FAMILIES,
    ("wrn_40_2", "ShuffleV1"): ACROSS_FAMILIES,
    ("wrn_40_2", "resnet8x4"): ACROSS_FAMILIES,
    ("wrn_40_2", "wrn_16_2"): {"DKD": {"beta": 6.0}},
    ("wrn_40_2", "wrn_40_1"): {"DKD": {"beta": 6.0}},
}
"""Values that depend on the teacher and the student: those of mdistiller's configs, and
of later methods those of their authors'."""


def create(student: str, teachers: Collection[str], variant: str) -> ConfigDict:
    """Creates a config of distillation into `student` on CIFAR-100.

    Args:
      student: the student's architecture.
      teachers: architectures of possible teachers, the default first. Their weights are
        read from `checkpoints/TEACHER`.
      variant: words, see above.

    Raises:
      UserError: the variant has an unknown word, two of a kind, or `later` with another
        method than KD and MLKD.
    """
    kinds = [
        list(teachers),
        [name for name in methods()],
        list(AUGMENTATIONS),
        list(LEARNING_RATES),
        ["", "later"],
    ]
    teacher, method, augmentation, rate, later = _choose(variant, kinds)
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
    if later:
        _set_later(config)
    return config


def create_teacher(student: str) -> ConfigDict:
    """Creates a config of training from scratch on CIFAR-100, as in mdistiller."""
    config = defaults(f"teacher_{student}", student)
    config.method = "vanilla"
    config.augmentation = "none"
    return config


def _set_later(config: ConfigDict) -> None:
    """Sets the original's later settings of a config's method and of the ascent."""
    if config.method not in LATER_METHODS:
        raise UserError(
            f"the variant has both later and {config.method}, but the original's later"
            f" settings are of {' and '.join(LATER_METHODS)}; use one of these"
        )
    config[config.method].update(LATER_METHOD)
    config.disagreement.update(LATER_ASCENT)
    config.name += "_later"


def _choose(variant: str, kinds: list[list[str]]) -> list[str]:
    """Returns the word of each kind in `variant`, by default the kind's first."""
    words = [word for word in variant.split(",") if word]
    known = [word for kind in kinds for word in kind if word]
    for word in words:
        if word not in known:
            raise unknown_name("variant", word, known)
    chosen = [[word for word in words if word in kind] for kind in kinds]
    for several in chosen:
        if len(several) > 1:
            raise UserError(f"the variant has both {' and '.join(several)}; use one")
    return [
        word[0] if word else kind[0] for word, kind in zip(chosen, kinds, strict=True)
    ]


def methods() -> dict[str, dict[str, Any]]:
    """Returns the config section of each method."""
    return sections(METHODS)
