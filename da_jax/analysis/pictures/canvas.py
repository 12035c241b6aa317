"""What all pictures have in common: fonts, colours, and how they become pixels.

Figures are objects on Agg's canvas; pyplot's global state and windows are not touched.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

DPI = 150
INK = "#222222"
GRAY = "#767676"
PALE = "#d9d9d9"
STUDENT = "#0072b2"
TEACHER = "#d55e00"
"""Blue and vermilion of Okabe and Ito's colours, which all eyes tell apart."""

CLASS_COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Petroff's ten (arXiv:2107.02270), chosen for all kinds of colour vision."""

DIVERGING = "PuOr_r"
SEQUENTIAL = "cividis"

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.edgecolor": GRAY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,  # names of classes and folders are no formulas
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Has `draw` draw in our style, and leaves matplotlib's settings as they were.

    Ticks are made only when a figure is rendered, which is to be styled too.
    """
    decorate: Callable = mpl.rc_context(_STYLE)
    decorated: Callable[Arguments, Result] = decorate(draw)
    return decorated


@dataclasses.dataclass(frozen=True)
class Picture:
    """A finished picture.

    Attributes:
      name: of its file.
      title: what it is, in a few words.
      alt: what it shows, in words, for those who can't see it.
      figure: itself.
    """

    name: str
    title: str
    alt: str
    figure: Figure

    @styled
    def save(self, folder: Path, dpi: int = DPI) -> None:
        """Writes the PNG, whole or not at all."""
        temporary = folder / f".{self.name}.tmp"
        self.figure.savefig(temporary, dpi=dpi, format="png")
        temporary.replace(folder / self.name)


def new_figure(width: float, height: float, *, is_constrained: bool = True) -> Figure:
    """An empty white figure.

    Args:
      width: in inches.
      height: in inches.
      is_constrained: matplotlib keeps axes and labels from overlapping.
    """
    figure = Figure(
        figsize=(width, height),
        facecolor="white",
        layout="constrained" if is_constrained else None,
    )
    FigureCanvasAgg(figure)
    return figure


@styled
def pixels(figure: Figure, dpi: int = DPI) -> np.ndarray:
    """A figure as uint8 `[H, W, 3]`."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def readable(class_name: str, longest: int = 16) -> str:
    """The name of a class as people write it, cut if it is very long."""
    words = class_name.replace("_", " ")
    return words if len(words) <= longest else words[: longest - 1] + "…"


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(value: float) -> str:
    """A number in two digits and a power of ten, such as 1.2×10⁻⁵."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
