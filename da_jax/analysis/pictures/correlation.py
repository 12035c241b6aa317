"""Class correlations and mean logits of students, compared with the teacher's.

A network's *class means* are its mean logits for the test images of each class; its
*class correlations* are the Pearson correlations of their rows.

References:
  megvii-research/mdistiller, tools/visualizations/correlation.ipynb (the difference of
  the class means, without its diagonal).
  Tian et al., Contrastive Representation Distillation, ICLR 2020 (class correlations).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.cluster.hierarchy
import scipy.spatial.distance
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from da_jax.analysis.pictures.canvas import (
    DIVERGING,
    GRAY,
    SEQUENTIAL,
    new_figure,
    readable,
    styled,
)

NAMED = 25
"""The largest number of class names at an axis; others are left out evenly."""

NUM_PAIRS = 10
"""The number of pairs of classes in `as_json`."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """Student minus teacher.

    Attributes:
      correlations: of the class correlations, `[K, K]`.
      means: of the class means, `[true class, logit]`, 0 on the diagonal.
    """

    correlations: np.ndarray
    means: np.ndarray


class Extent(NamedTuple):
    """The mean and the maximum of absolute values."""

    mean: float
    max: float


class Pair(NamedTuple):
    """Two classes, and the difference in their correlation."""

    one: int
    other: int
    difference: float


def class_means(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Averages logits `[N, K]` over the images of each class, `[K, K]`."""
    classes = range(logits.shape[1])
    return np.stack([logits[labels == label].mean(axis=0) for label in classes])


def difference(student_means: np.ndarray, teacher_means: np.ndarray) -> Difference:
    """Compares the class means of two networks, `[K, K]` each."""
    means = student_means - teacher_means
    np.fill_diagonal(means, 0)
    correlations = np.corrcoef(student_means) - np.corrcoef(teacher_means)
    return Difference(correlations, means)


def extent(matrix: np.ndarray) -> Extent:
    """Returns the mean and the maximum of |matrix|."""
    return Extent(float(np.abs(matrix).mean()), float(np.abs(matrix).max()))


def largest_pairs(correlations: np.ndarray, count: int) -> list[Pair]:
    """Returns the pairs of classes with the largest |difference|, in that order."""
    rows, columns = np.triu_indices(len(correlations), k=1)
    values = correlations[rows, columns]
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    return [Pair(int(rows[at]), int(columns[at]), float(values[at])) for at in order]


def clustered_order(means: np.ndarray) -> np.ndarray:
    """Orders the classes `[K]` by hierarchical clustering of their means."""
    distances = 1 - np.corrcoef(means)
    condensed = scipy.spatial.distance.squareform(distances, checks=False)
    condensed = np.maximum(condensed, 0)  # rounding errors may be negative
    tree = scipy.cluster.hierarchy.linkage(
        condensed, method="average", optimal_ordering=True
    )
    return np.asarray(scipy.cluster.hierarchy.leaves_list(tree))


@styled
def draw(
    differences: Sequence[tuple[str, Difference]],
    teacher: str,
    order: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    """Draws a row of two heat maps for each student, with common colour scales.

    Args:
      differences: with the students' names.
      teacher: its name.
      order: of the classes, int `[K]`.
      class_names: by label.
    """
    figure = new_figure(10.4, 5.3 * len(differences))
    panels = figure.subplots(len(differences), 2, squeeze=False)
    maps = [each for _, each in differences]
    correlation = max(extent(each.correlations).max for each in maps) or 1.0
    logit = max(extent(each.means).max for each in maps) or 1.0
    names = [readable(class_names[label]) for label in order]
    for (left, right), (student, each) in zip(panels, differences, strict=True):
        colors = {"cmap": DIVERGING, "vmin": -correlation, "vmax": correlation}
        _heat_map(left, each.correlations, order, names, colors)
        mean, most = extent(each.correlations)
        left.set_title(
            f"class correlations: |difference| mean {mean:.4f}, max {most:.3f}\n"
            f"{student} − {teacher}",
            fontsize=9,
        )
        left.set_xlabel(f"classes, clustered by {teacher}'s correlations")
        colors = {"cmap": SEQUENTIAL, "vmin": 0, "vmax": logit}
        _heat_map(right, np.abs(each.means), order, names, colors)
        mean, most = extent(each.means)
        right.set_title(
            f"mean logits: |difference| mean {mean:.3f}, max {most:.2f}\n"
            f"|{student} − {teacher}|, without the diagonal",
            fontsize=9,
        )
        right.set(xlabel="logit", ylabel="true class")
    return figure


def _heat_map(
    axes: Axes,
    matrix: np.ndarray,
    order: np.ndarray,
    names: Sequence[str],
    colors: Mapping[str, Any],
) -> None:
    image = axes.imshow(matrix[np.ix_(order, order)], interpolation="nearest", **colors)
    bar: Any = axes.figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    bar.ax.tick_params(length=2, color=GRAY)
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    stride = -(-len(names) // NAMED)
    places = range(0, len(names), stride)
    turn = 90 if max(map(len, names)) > 2 else 0
    axes.set_xticks(places, names[::stride], rotation=turn)
    axes.set_yticks(places, names[::stride])
    axes.tick_params(length=2 if stride > 1 else 0, labelsize=7, color=GRAY)


def alt_text(
    each: Difference, student: str, teacher: str, class_names: Sequence[str]
) -> str:
    """Describes a row of heat maps in words."""
    (first,) = largest_pairs(each.correlations, 1)
    correlations, means = extent(each.correlations), extent(each.means)
    return (
        f"{student} minus {teacher}: class correlations differ by"
        f" {correlations.mean:.4f} on average and {correlations.max:.3f} at most"
        f" ({readable(class_names[first.one])} with"
        f" {readable(class_names[first.other])}, {first.difference:+.3f}); mean logits"
        f" by {means.mean:.3f} and {means.max:.2f}."
    )


def as_json(
    each: Difference, student: str, teacher: str, class_names: Sequence[str]
) -> dict[str, Any]:
    """Returns the means and maxima in the titles, and the most different pairs."""
    return {
        "student": student,
        "teacher": teacher,
        "correlations": extent(each.correlations)._asdict(),
        "mean_logits": extent(each.means)._asdict(),
        "largest": [
            {
                "classes": [class_names[pair.one], class_names[pair.other]],
                "difference": pair.difference,
            }
            for pair in largest_pairs(each.correlations, NUM_PAIRS)
        ],
    }
