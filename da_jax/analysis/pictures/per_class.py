"""The change in accuracy on each class from one network to another."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from da_jax.analysis.pictures.canvas import (
    GRAY,
    INK,
    PALE,
    STUDENT,
    TEACHER,
    new_figure,
    readable,
    styled,
)

NAMED = 20
"""The largest number of classes that are all drawn with their names."""

EXTREMES = 10
"""With more classes, the number of gains and of losses with names."""


@dataclasses.dataclass(frozen=True)
class Change:
    """Accuracies on each class, `[K]`.

    Attributes:
      before: of the first network, in %.
      after: of the second network, in %.
      standard_errors: of after − before, for paired images.
    """

    before: np.ndarray
    after: np.ndarray
    standard_errors: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """after − before."""
        return self.after - self.before

    @property
    def is_clear(self) -> np.ndarray:
        """Whether |after − before| exceeds two standard errors."""
        return np.abs(self.values) > 2 * self.standard_errors

    @property
    def order(self) -> np.ndarray:
        """The classes from the largest gain to the largest loss."""
        return np.argsort(-self.values, kind="stable")


def change(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, num_classes: int
) -> Change:
    """Computes accuracies by class from correct predictions, `[N]` each.

    Args:
      before: bool, of the first network.
      after: bool, of the second network.
      labels: int.
      num_classes: K; each class has at least one image.
    """
    gains = after.astype(np.float64) - before
    columns = []
    for label in range(num_classes):
        of_class = labels == label
        standard_error = gains[of_class].std() / np.sqrt(of_class.sum())
        columns.append(
            (before[of_class].mean(), after[of_class].mean(), standard_error)
        )
    return Change(*(100 * np.array(columns).T))


@styled
def draw(
    changes: Change, before: str, after: str, class_names: Sequence[str]
) -> Figure:
    """Draws sorted bars; if there are many classes, only the extremes have names.

    Args:
      changes: from `before` to `after`.
      before: the name of the first network.
      after: the name of the second network.
      class_names: by label.
    """
    order = changes.order
    means = (changes.before.mean(), changes.after.mean())
    title = (
        f"{after}, {means[1]:.2f} % on average over the classes,\n"
        f"compared with {before}, {means[0]:.2f} %"
    )
    if len(order) <= NAMED:
        figure = new_figure(6.6, 1.5 + 0.26 * len(order))
        axes = figure.subplots()
        _named_bars(axes, changes, order, class_names)
    else:
        figure = new_figure(9.4, 5.4)
        left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
        _bars(left, changes, order)
        left.set_title(f"all {len(order)} classes", loc="left")
        left.set(yticks=[], ylabel="classes, sorted")
        extremes = np.concatenate([order[:EXTREMES], order[-EXTREMES:]])
        _named_bars(right, changes, extremes, class_names)
        right.axhline(EXTREMES - 0.5, color=GRAY, linewidth=0.6, linestyle=(0, (4, 3)))
        right.set_title(
            f"the {EXTREMES} largest gains and the {EXTREMES} largest losses",
            loc="left",
        )
    figure.suptitle(title, fontsize=10, weight="bold", x=0.01, ha="left")
    figure.supxlabel(
        "percentage points; pale: within two standard errors of no change",
        fontsize=8.5,
        color=GRAY,
    )
    return figure


def _bars(axes: Axes, changes: Change, classes: np.ndarray) -> None:
    values = changes.values[classes]
    colors = [
        (STUDENT if value > 0 else TEACHER, 1.0 if is_clear else 0.35)
        for value, is_clear in zip(values, changes.is_clear[classes], strict=True)
    ]
    axes.barh(range(len(classes)), values, color=colors, height=0.78)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.grid(axis="x", color=PALE, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)


def _named_bars(
    axes: Axes, changes: Change, classes: np.ndarray, class_names: Sequence[str]
) -> None:
    _bars(axes, changes, classes)
    names = [readable(class_names[label]) for label in classes]
    axes.set_yticks(range(len(classes)), names)
    for place, label in enumerate(classes):
        value = changes.values[label]
        axes.annotate(
            f"{changes.before[label]:.0f} → {changes.after[label]:.0f} %",
            (value, place),
            xytext=(3 if value >= 0 else -3, 0),
            textcoords="offset points",
            ha="left" if value >= 0 else "right",
            va="center",
            fontsize=7,
        )
    axes.margins(x=0.28)


def alt_text(
    changes: Change, before: str, after: str, class_names: Sequence[str]
) -> str:
    """Describes the bars in words."""
    values, clear = changes.values, changes.is_clear
    best, worst = (
        f"{readable(class_names[at])} ({values[at]:+.1f})"
        for at in changes.order[[0, -1]]
    )
    return (
        f"Bar chart of the change in accuracy from {before}"
        f" ({changes.before.mean():.2f} % on average over the classes) to {after}"
        f" ({changes.after.mean():.2f} %), in percentage points. {np.sum(values > 0)}"
        f" classes gain, {np.sum(values < 0)} lose; by more than two standard errors"
        f" {np.sum(clear & (values > 0))} and {np.sum(clear & (values < 0))}."
        f" Best {best}, worst {worst}."
    )


def as_json(
    changes: Change, before: str, after: str, class_names: Sequence[str]
) -> dict[str, Any]:
    """Returns the data of the bars, in their order."""
    return {
        "before": before,
        "after": after,
        "classes": [
            {
                "class": class_names[at],
                "before": changes.before[at],
                "after": changes.after[at],
                "standard_error": changes.standard_errors[at],
            }
            for at in changes.order
        ],
    }
