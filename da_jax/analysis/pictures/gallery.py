"""Drawing of the gallery: a row for each image, a column for each recorded step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from da_jax.analysis.gallery import BATCH_SIZE, ClassProbability, Gallery, top_classes
from da_jax.analysis.pictures.canvas import (
    GRAY,
    INK,
    STUDENT,
    TEACHER,
    new_figure,
    readable,
    scientific,
    styled,
)
from da_jax.data.preprocessing import Preprocessing

ROWS = 4
"""Images on a page."""

# In inches. At 150 dpi a pixel of an image has 5 × 5 dots.
_SIDE = 160 / 150
_GAP = 0.08
_CELL = 2 * _SIDE + _GAP
_COLUMN = _CELL + 0.26
_LINE = 0.135
_TEXT = 4 * _LINE + 0.1
_ROW = _SIDE + _TEXT + 0.18
_MARGIN = 0.16
_HEADER = 0.78
_FOOTER = 0.48
_NARROWEST = 7.2  # the width of the footer

_FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""The factors by which differences may be amplified."""


@styled
def draw(
    gallery: Gallery,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    student: str,
    teacher: str,
) -> list[Figure]:
    """Draws the gallery on pages of `ROWS` images.

    Args:
      gallery: the images and logits.
      preprocessing: that of the data set, whose normalisation is inverted.
      class_names: by label.
      student: the student's name.
      teacher: the teacher's name.
    """
    return [
        _draw_page(
            gallery,
            range(first, min(first + ROWS, len(gallery.indices))),
            preprocessing,
            class_names,
            (student, teacher),
        )
        for first in range(0, len(gallery.indices), ROWS)
    ]


def pixel_values(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Inverts the normalisation of images `[..., C]`; pixels are then in [0, 1]."""
    return images * np.array(preprocessing.std) + np.array(preprocessing.mean)


def amplification(differences: np.ndarray) -> int:
    """Returns the largest factor that keeps 90 % of `differences` within ±0.5."""
    reach = float(np.percentile(np.abs(differences), 90))
    fitting = [factor for factor in _FACTORS if factor * reach <= 0.5]
    return max(fitting, default=1)


def _draw_page(
    gallery: Gallery,
    rows: range,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    networks: tuple[str, str],
) -> Figure:
    columns = len(gallery.steps) * _COLUMN - (_COLUMN - _CELL)
    width = max(columns + 2 * _MARGIN, _NARROWEST)
    height = len(rows) * _ROW + _HEADER + _FOOTER
    figure = new_figure(width, height, is_constrained=False)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    values = pixel_values(gallery.images, preprocessing)
    differences = values - values[0]
    factors = [amplification(each) for each in differences]
    _draw_header(axes, gallery, height, networks, factors)
    for place, row in enumerate(rows):
        top = height - _HEADER - place * _ROW
        for column, factor in enumerate(factors):
            left = _MARGIN + column * _COLUMN
            _show(axes, left, top, values[column, row])
            if column:
                amplified = 0.5 + factor * differences[column, row]
                _show(axes, left + _SIDE + _GAP, top, amplified)
            _draw_cell(axes, left, top - _SIDE, gallery, column, row, class_names)
        _draw_label(axes, top, gallery, row, class_names)
    _draw_footer(axes, networks)
    axes.set(xlim=(0, width), ylim=(0, height))
    return figure


def _show(axes: Axes, left: float, top: float, image: np.ndarray) -> None:
    axes.imshow(
        np.clip(image, 0, 1),
        extent=(left, left + _SIDE, top - _SIDE, top),
        interpolation="nearest",
        aspect="auto",
    )


def _draw_header(
    axes: Axes,
    gallery: Gallery,
    height: float,
    networks: tuple[str, str],
    factors: Sequence[int],
) -> None:
    axes.text(
        _MARGIN,
        height - 0.12,
        f"{networks[0]} and {networks[1]}",
        fontsize=11,
        weight="bold",
        va="top",
    )
    axes.text(
        _MARGIN,
        height - 0.33,
        "test images, moved step by step to where the two disagree,"
        f" α = {gallery.learning_rate:g}",
        va="top",
    )
    for column, (step, factor) in enumerate(zip(gallery.steps, factors, strict=True)):
        left = _MARGIN + column * _COLUMN
        title = f"{step} step" if step == 1 else f"{step} steps"
        axes.text(left, height - _HEADER + 0.06, title, weight="bold", va="bottom")
        if column:
            axes.text(
                left + _SIDE + _GAP,
                height - _HEADER + 0.06,
                f"difference ×{factor}",
                fontsize=8,
                va="bottom",
            )


def _draw_label(
    axes: Axes, top: float, gallery: Gallery, row: int, class_names: Sequence[str]
) -> None:
    """Writes the true label beside the original image, which has no difference."""
    left = _MARGIN + _SIDE + _GAP + 0.03
    axes.text(left, top - 0.42, "true label", fontsize=7, color=GRAY, va="bottom")
    name = readable(class_names[gallery.labels[row]])
    axes.text(left, top - 0.46, name, weight="bold", va="top")
    axes.text(
        left,
        top - 0.72,
        f"test image {gallery.indices[row]}",
        fontsize=7,
        color=GRAY,
        va="top",
    )


def _draw_cell(
    axes: Axes,
    left: float,
    top: float,
    gallery: Gallery,
    column: int,
    row: int,
    class_names: Sequence[str],
) -> None:
    """Draws the likeliest classes of both networks below an image."""
    halves = ((gallery.student_logits, STUDENT), (gallery.teacher_logits, TEACHER))
    for half, (logits, color) in enumerate(halves):
        start = left + half * (_SIDE + _GAP)
        for line, likely in enumerate(top_classes(logits[column, row])):
            baseline = top - 0.06 - line * _LINE
            is_true = likely.label == gallery.labels[row]
            _draw_class(axes, start, baseline, likely, class_names, color, is_true)
    value, original = (gallery.disagreement[at, row] for at in (column, 0))
    text = f"D = {scientific(value)}"
    if column and original > 0:
        text += f", {value / original:.1f} times the original's"
    axes.text(left, top - 0.09 - 3 * _LINE, text, fontsize=7.5, color=INK, va="top")


def _draw_class(
    axes: Axes,
    left: float,
    top: float,
    likely: ClassProbability,
    class_names: Sequence[str],
    color: str,
    is_true: bool,
) -> None:
    bar = Rectangle(
        (left, top - _LINE + 0.015),
        likely.probability * _SIDE,
        _LINE - 0.02,
        color=color,
        alpha=0.3,
        linewidth=0,
    )
    axes.add_patch(bar)
    middle, weight = top - _LINE / 2, "bold" if is_true else "normal"
    name, percent = readable(class_names[likely.label], 14), 100 * likely.probability
    axes.text(left + 0.03, middle, name, fontsize=7, va="center", weight=weight)
    axes.text(
        left + _SIDE - 0.02,
        middle,
        f"{percent:.0f}",
        fontsize=7,
        va="center",
        ha="right",
    )


def _draw_footer(axes: Axes, networks: tuple[str, str]) -> None:
    for half, (name, color) in enumerate(
        zip(networks, (STUDENT, TEACHER), strict=True)
    ):
        left = _MARGIN + half * (_NARROWEST - _MARGIN) / 2
        axes.add_patch(
            Rectangle((left, 0.31), 0.22, 0.1, color=color, alpha=0.3, linewidth=0)
        )
        axes.text(left + 0.28, 0.36, name, fontsize=8, va="center")
    text = (
        "the likeliest classes and their probabilities in %, the true label in bold;"
        " D: disagreement; gray in a difference: no change"
    )
    axes.text(_MARGIN, 0.16, text, fontsize=8, color=GRAY, va="center")


def alt_text(
    shown: Gallery,
    rows: Sequence[int],
    names: tuple[str, str],
    class_names: Sequence[str],
) -> str:
    """Describes the page of these `rows` in words."""
    labels = ", ".join(readable(class_names[label]) for label in shown.labels[rows])
    *steps, last = shown.steps
    before, after = shown.disagreement[0, rows], shown.disagreement[-1, rows]
    changed = [
        int(np.sum(logits[0, rows].argmax(-1) != logits[-1, rows].argmax(-1)))
        for logits in (shown.student_logits, shown.teacher_logits)
    ]
    after_steps = f"{', '.join(map(str, steps))} and {last}" if steps else str(last)
    return (
        f"{len(rows)} test images ({labels}), a row each, after"
        f" {after_steps} ascent steps, with their amplified differences to"
        f" the original and the three likeliest classes of {names[0]} and {names[1]}."
        f" The mean disagreement changes from {scientific(before.mean())} to"
        f" {scientific(after.mean())}; the likeliest class changes in"
        f" {changed[0]} of {len(rows)} images for {names[0]}, in {changed[1]} for"
        f" {names[1]}."
    )


def as_json(
    shown: Gallery, names: tuple[str, str], class_names: Sequence[str]
) -> dict[str, Any]:
    """Returns the data of the pages, and the changes of pixels."""
    changes = shown.pixel_changes

    def likeliest(logits: np.ndarray) -> list[dict[str, Any]]:
        return [
            {"class": class_names[label], "probability": probability}
            for label, probability in top_classes(logits)
        ]

    def recorded(at: int, row: int) -> dict[str, Any]:
        return {
            "step": shown.steps[at],
            "disagreement": float(shown.disagreement[at, row]),
            "mean_distance": float(changes[at, row].mean()),
            "max_distance": float(changes[at, row].max()),
            "student": likeliest(shown.student_logits[at, row]),
            "teacher": likeliest(shown.teacher_logits[at, row]),
        }

    return {
        "student": names[0],
        "teacher": names[1],
        "learning_rate": shown.learning_rate,
        "batch_size": BATCH_SIZE,
        "images": [
            {
                "index": int(index),
                "label": class_names[shown.labels[row]],
                "moments": [recorded(at, row) for at in range(len(shown.steps))],
            }
            for row, index in enumerate(shown.indices)
        ],
    }
