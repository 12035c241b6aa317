"""How the gallery is drawn: an image a row, a moment of its ascent a column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from da_jax.analysis.gallery import BATCH_SIZE, Gallery, Guess, top_guesses
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
"""Images a page."""

# In inches. At 150 dots an inch a pixel is a square of five dots.
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
_NARROWEST = 7.2  # that the footer needs

_FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""By which differences may be amplified."""


@styled
def draw(
    gallery: Gallery,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    student: str,
    teacher: str,
) -> list[Figure]:
    """The gallery's pages, of `ROWS` images each.

    Args:
      gallery: what is shown.
      preprocessing: the data set's, to undo.
      class_names: in the order of the labels.
      student: its name.
      teacher: its name.
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
    """Normalised images `[..., C]` in units where 0 is black and 1 is white."""
    return images * np.array(preprocessing.std) + np.array(preprocessing.mean)


def amplification(differences: np.ndarray) -> int:
    """The largest factor that leaves 90 % of `differences` within half the range."""
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
    factors = [amplification(of_moment) for of_moment in differences]
    _draw_header(axes, gallery, height, networks, factors)
    for place, row in enumerate(rows):
        top = height - _HEADER - place * _ROW
        for moment, factor in enumerate(factors):
            left = _MARGIN + moment * _COLUMN
            _show(axes, left, top, values[moment, row])
            if moment:
                amplified = 0.5 + factor * differences[moment, row]
                _show(axes, left + _SIDE + _GAP, top, amplified)
            _draw_cell(axes, left, top - _SIDE, gallery, moment, row, class_names)
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
        "test images on their way to where the two disagree,"
        f" α = {gallery.learning_rate:g}",
        va="top",
    )
    for moment, (step, factor) in enumerate(zip(gallery.steps, factors, strict=True)):
        left = _MARGIN + moment * _COLUMN
        title = f"{step} step" if step == 1 else f"{step} steps"
        axes.text(left, height - _HEADER + 0.06, title, weight="bold", va="bottom")
        if moment:
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
    """What the image is, beside its first moment, which has no difference."""
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
    moment: int,
    row: int,
    class_names: Sequence[str],
) -> None:
    """What both networks say of one image at one moment, below it."""
    halves = ((gallery.student_logits, STUDENT), (gallery.teacher_logits, TEACHER))
    for half, (logits, color) in enumerate(halves):
        start = left + half * (_SIDE + _GAP)
        for line, guess in enumerate(top_guesses(logits[moment, row])):
            baseline = top - 0.06 - line * _LINE
            is_true = guess.label == gallery.labels[row]
            _draw_guess(axes, start, baseline, guess, class_names, color, is_true)
    value, original = (gallery.disagreement[at, row] for at in (moment, 0))
    words = f"D = {scientific(value)}"
    if moment and original > 0:
        words += f", {value / original:.1f} times the original's"
    axes.text(left, top - 0.09 - 3 * _LINE, words, fontsize=7.5, color=INK, va="top")


def _draw_guess(
    axes: Axes,
    left: float,
    top: float,
    guess: Guess,
    class_names: Sequence[str],
    color: str,
    is_true: bool,
) -> None:
    bar = Rectangle(
        (left, top - _LINE + 0.015),
        guess.probability * _SIDE,
        _LINE - 0.02,
        color=color,
        alpha=0.3,
        linewidth=0,
    )
    axes.add_patch(bar)
    middle, weight = top - _LINE / 2, "bold" if is_true else "normal"
    name, percent = readable(class_names[guess.label], 14), 100 * guess.probability
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
    words = (
        "the likeliest classes and their probabilities in %, the true label in bold;"
        " D: disagreement; gray in a difference: no change"
    )
    axes.text(_MARGIN, 0.16, words, fontsize=8, color=GRAY, va="center")


def in_words(
    shown: Gallery,
    rows: Sequence[int],
    names: tuple[str, str],
    class_names: Sequence[str],
) -> str:
    """What a page of these `rows` shows, for those who can't see it."""
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
        f" {after_steps} steps of ascent with their amplified differences to"
        f" the original and the three likeliest classes of {names[0]} and {names[1]}."
        f" The mean disagreement goes from {scientific(before.mean())} to"
        f" {scientific(after.mean())}; the likeliest class changes in"
        f" {changed[0]} of {len(rows)} images for {names[0]}, in {changed[1]} for"
        f" {names[1]}."
    )


def in_numbers(
    shown: Gallery, names: tuple[str, str], class_names: Sequence[str]
) -> dict[str, Any]:
    """All that the pages show, and how far pixels have moved."""
    distances = shown.distances

    def guesses(logits: np.ndarray) -> list[dict[str, Any]]:
        return [
            {"class": class_names[guess.label], "probability": guess.probability}
            for guess in top_guesses(logits)
        ]

    def moment(at: int, row: int) -> dict[str, Any]:
        return {
            "step": shown.steps[at],
            "disagreement": float(shown.disagreement[at, row]),
            "mean_distance": float(distances[at, row].mean()),
            "max_distance": float(distances[at, row].max()),
            "student": guesses(shown.student_logits[at, row]),
            "teacher": guesses(shown.teacher_logits[at, row]),
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
                "moments": [moment(at, row) for at in range(len(shown.steps))],
            }
            for row, index in enumerate(shown.indices)
        ],
    }
