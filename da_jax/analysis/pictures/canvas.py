"""Style, colours and rendering of all pictures.

Figures have an Agg canvas; pyplot's global state isn't used.
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
"""Blue and vermilion of Okabe and Ito's palette for colour blindness."""

CLASS_COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Petroff's ten colours (arXiv:2107.02270), for all kinds of colour vision."""

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
    "text.parse_math": False,  # names of classes and folders may have a $
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorates `draw` with the style; matplotlib's settings are restored after it.

    Functions that render need it too: ticks are created only then.
    """
    decorate: Callable = mpl.rc_context(_STYLE)
    decorated: Callable[Arguments, Result] = decorate(draw)
    return decorated


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure with its file name and description.

    Attributes:
      name: of its file.
      title: a short title.
      alt: a description in words.
      figure: the figure.
    """

    name: str
    title: str
    alt: str
    figure: Figure

    @styled
    def save(self, folder: Path, dpi: int = DPI) -> None:
        """Writes the PNG atomically."""
        temporary = folder / f".{self.name}.tmp"
        self.figure.savefig(temporary, dpi=dpi, format="png")
        temporary.replace(folder / self.name)


def new_figure(width: float, height: float, *, is_constrained: bool = True) -> Figure:
    """Returns an empty white figure.

    Args:
      width: in inches.
      height: in inches.
      is_constrained: use matplotlib's constrained layout.
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
    """Renders a figure to uint8 `[H, W, 3]`."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def readable(class_name: str, longest: int = 16) -> str:
    """Replaces underscores by spaces, and truncates long names."""
    words = class_name.replace("_", " ")
    return words if len(words) <= longest else words[: longest - 1] + "…"


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(value: float) -> str:
    """Formats a number as two digits and a power of ten, such as 1.2×10⁻⁵."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
