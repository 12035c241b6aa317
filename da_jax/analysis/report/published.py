"""Published CIFAR-100 accuracies."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from da_jax.config.record import flatten
from da_jax.training.results import method_name

SOURCES = {
    "original": (
        "https://github.com/y4umeng/disagreement_augmentation",
        "the best epoch on the test set, mean ± std of 5 runs",
    ),
    "mdistiller": (
        "https://github.com/megvii-research/mdistiller",
        "its table of CIFAR-100, the last epoch; networks without a teacher are"
        " RepDistiller's",
    ),
}
"""The address and the kind of each source's values: 240 epochs, batch size 64."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published top-1 accuracy.

    Attributes:
      top1: in %, the mean over runs if there are several.
      std: the standard deviation over runs, if it was published.
      source: a key of `SOURCES`.
    """

    top1: float
    std: float | None
    source: str

    def __str__(self) -> str:
        """Formats the accuracy and its source."""
        spread = "" if self.std is None else f" ± {self.std:.2f}"
        return f"{self.top1:.2f}{spread} ({self.source})"


ORIGINAL = {
    ("resnet32x4", "resnet8x4"): {"KD": (73.66, 0.26), "KD + DA": (74.59, 0.24)},
    ("vgg13", "vgg8"): {"KD": (73.33, 0.25), "KD + DA": (73.76, 0.29)},
    ("resnet32x4", "ShuffleV2"): {"KD": (71.67, 0.34), "KD + DA": (73.70, 0.19)},
}
"""Mean and std by teacher and student, then method; at learning rate 0.05."""

MDISTILLER = {
    ("resnet56", "resnet20"): {"KD": 70.66, "DKD": 71.97},
    ("resnet110", "resnet20"): {"KD": 70.67, "DKD": 71.06},
    ("resnet110", "resnet32"): {"KD": 73.08, "DKD": 74.11},
    ("resnet32x4", "resnet8x4"): {"KD": 73.33, "DKD": 76.32},
    ("wrn_40_2", "wrn_16_2"): {"KD": 74.92, "DKD": 76.23},
    ("wrn_40_2", "wrn_40_1"): {"KD": 73.54, "DKD": 74.81},
    ("vgg13", "vgg8"): {"KD": 72.98, "DKD": 74.68},
    ("resnet32x4", "ShuffleV1"): {"KD": 74.07, "DKD": 76.45},
    ("wrn_40_2", "ShuffleV1"): {"KD": 74.83, "DKD": 76.70},
    ("resnet32x4", "ShuffleV2"): {"KD": 74.45, "DKD": 77.07},
    ("vgg13", "MobileNetV2"): {"KD": 67.37, "DKD": 69.71},
    ("ResNet50", "MobileNetV2"): {"KD": 67.35, "DKD": 70.35},
}
"""By teacher and student, then method; at the learning rate `mdistiller_rate`."""

ALONE = {
    "resnet56": 72.34,
    "resnet110": 74.31,
    "resnet32x4": 79.42,
    "wrn_40_2": 75.61,
    "vgg13": 74.64,
    "ResNet50": 79.34,
    "resnet20": 69.06,
    "resnet32": 71.14,
    "resnet8x4": 72.50,
    "wrn_16_2": 73.26,
    "wrn_40_1": 71.98,
    "vgg8": 70.36,
    "ShuffleV1": 70.50,
    "ShuffleV2": 71.82,
    "MobileNetV2": 64.60,
}
"""Networks trained without a teacher, in mdistiller's table."""


def mdistiller_rate(student: str) -> float:
    """Returns mdistiller's learning rate for `student`."""
    return 0.01 if student in ("MobileNetV2", "ShuffleV1", "ShuffleV2") else 0.05


def published(config: Mapping[str, Any]) -> list[Published]:
    """Returns what was published for a config's pair, method and learning rate."""
    student, teacher = config["student"], config["teacher"]["model"]
    if config["dataset"] != "cifar100":
        return []
    if not teacher:
        alone = ALONE.get(student) if method_name(config) == "vanilla" else None
        return [Published(alone, None, "mdistiller")] if alone else []
    rate = dict(flatten(config)).get("optimizer.learning_rate")
    method = method_name(config)
    figures = []
    original = ORIGINAL.get((teacher, student), {}).get(method)
    if original and rate == 0.05:
        figures.append(Published(*original, "original"))
    mdistiller = MDISTILLER.get((teacher, student), {}).get(method)
    if mdistiller and rate == mdistiller_rate(student):
        figures.append(Published(mdistiller, None, "mdistiller"))
    return figures
