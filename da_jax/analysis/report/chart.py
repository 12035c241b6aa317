"""Line charts: the coordinates and texts that the template `chart.svg` draws."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from da_jax.analysis.report.formats import number_format

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 22
MOST_POINTS = 300
"""Of a line; longer ones are thinned evenly."""

COLORS = 6
"""The number of colours in the style sheet; further series are also dashed."""

TICKS = 6
"""Roughly the largest number of ticks on an axis."""

ROUNDING = 1e-5
"""Series that vary less, relative to their size, count as constant."""

SMALLEST = 1e-100
"""Smaller values are treated as 0."""

Item = TypeVar("Item")


def style(color: int, *, is_dotted: bool = False) -> str:
    """Returns the CSS classes of a series."""
    dashes = "dotted" if is_dotted else f"dash{color // COLORS % 3}"
    return f"series{color % COLORS} {dashes}"


@dataclasses.dataclass(frozen=True)
class Point:
    """The mean, lowest and highest value at one x; a gap where the mean is None."""

    x: float
    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Series:
    """A line of means, with a band from the lowest to the highest values.

    Attributes:
      label: in the legend.
      points: sorted by x.
      color: the index of its colour, from 0; from `COLORS` on with dashes.
      is_dotted: whether the line is dotted.
    """

    label: str
    points: list[Point]
    color: int
    is_dotted: bool = False

    @property
    def style(self) -> str:
        """Its CSS classes."""
        return style(self.color, is_dotted=self.is_dotted)


@dataclasses.dataclass(frozen=True)
class Chart:
    """Series over one x axis, as the templates need them.

    Attributes:
      key: unique in a page, for ids.
      title: of the y axis.
      lines: at least one.
      value_format: the format specification of values; by default from all of them.
      largest: the largest possible value, such as 100 %; no axis goes beyond it.
    """

    width: ClassVar[int] = WIDTH
    height: ClassVar[int] = HEIGHT
    left: ClassVar[int] = LEFT
    right: ClassVar[int] = WIDTH - RIGHT
    bottom: ClassVar[int] = HEIGHT - BOTTOM

    key: str
    title: str
    lines: list[Series]
    value_format: str = ""
    largest: float = math.inf

    @functools.cached_property
    def is_logarithmic(self) -> bool:
        """Whether y is logarithmic: all values are positive, their ratio above 20."""
        low, high = self._extent
        return low > SMALLEST and high / low > 20

    @property
    def drawn(self) -> list[Series]:
        """The series that have a value."""
        return [line for line in self.lines if _means(line)]

    @property
    def longest_label(self) -> int:
        """The number of characters of the longest label."""
        return max(len(line.label) for line in self.drawn)

    @functools.cached_property
    def _values(self) -> list[float]:
        return [
            value
            for line in self.lines
            for point in line.points
            for value in (point.mean, point.low, point.high)
            if value is not None
        ]

    @property
    def _extent(self) -> tuple[float, float]:
        return min(self._values), max(self._values)

    @functools.cached_property
    def _x(self) -> Callable[[float], float]:
        xs = [point.x for line in self.drawn for point in line.points]
        low, high = min(xs), max(xs)
        if low == high:
            low, high = low - 1, high + 1
        return _scale(low, high, LEFT + 4, WIDTH - RIGHT - 4)

    @functools.cached_property
    def _y_domain(self) -> tuple[float, float]:
        low, high = self._extent
        if self.is_logarithmic:
            return low / 1.1, high * 1.1
        if high - low > ROUNDING * max(abs(low), abs(high)):
            margin = 0.05 * (high - low)
        else:  # a constant, or a single point
            margin = 0.2 * abs(high) or 1.0
            high = min(high, self.largest - margin)
        return low - margin, high + margin

    def _y(self, value: float) -> float:
        domain = self._y_domain
        if self.is_logarithmic:
            value, *ends = (math.log(number) for number in (value, *domain))
            domain = (ends[0], ends[1])
        return _scale(*domain, HEIGHT - BOTTOM, TOP)(value)

    @functools.cached_property
    def _exponent(self) -> int:
        """The power of ten that tick labels of small values are divided by."""
        largest = max(map(abs, self._extent))
        if self.is_logarithmic or not SMALLEST < largest < 1e-2:
            return 0
        return math.floor(math.log10(largest))

    @property
    def heading(self) -> str:
        """The title and the unit of the y axis."""
        unit = f" (× {power_of_ten(self._exponent)})" if self._exponent else ""
        return self.title + unit

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """The positions and labels of the y axis's ticks."""
        unit = 10.0**self._exponent
        low, high = (value / unit for value in self._y_domain)
        ticks = log_ticks(low, high) if self.is_logarithmic else linear_ticks(low, high)
        return [(round(self._y(value * unit), 1), text) for value, text in ticks]

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """The positions and labels of the x axis's ticks, whole numbers."""
        xs = [point.x for line in self.drawn for point in line.points]
        ticks = linear_ticks(min(xs), max(xs), whole=True)
        return [(round(self._x(value), 1), text) for value, text in ticks]

    def path(self, line: Series) -> str:
        """Returns the SVG path of the means."""
        parts: list[str] = []
        command = "M"
        for point in thinned(line.points):
            if point.mean is None:
                command = "M"
                continue
            parts.append(f"{command}{self._at(point.x, point.mean)}")
            command = "L"
        return "".join(parts)

    def band(self, line: Series) -> str:
        """Returns the SVG path of the band; empty if lowest and highest are equal."""
        edges = [
            (point.x, point.low, point.high)
            for point in thinned(line.points)
            if point.low is not None and point.high is not None
        ]
        if all(low == high for _, low, high in edges):
            return ""
        there = [self._at(x, high) for x, _, high in edges]
        back = [self._at(x, low) for x, low, _ in reversed(edges)]
        return f"M{'L'.join(there + back)}Z"

    def end(self, line: Series) -> tuple[float, float]:
        """Returns the position of the last value."""
        last = _means(line)[-1]
        assert last.mean is not None
        return round(self._x(last.x), 1), round(self._y(last.mean), 1)

    def _at(self, x: float, value: float) -> str:
        return f"{self._x(x):.1f} {self._y(value):.1f}"

    @property
    def description(self) -> str:
        """The first, last, lowest and highest value of each series, in words."""
        sentences = []
        for line in self.drawn:
            points = _means(line)
            low = min(points, key=lambda point: point.mean or 0.0)
            high = max(points, key=lambda point: point.mean or 0.0)
            first, last, lowest, highest = (
                f"{self.format_value(point.mean)} in epoch {point.x:g}"
                for point in (points[0], points[-1], low, high)
            )
            sentences.append(
                f"{line.label}: {first}, {last}; lowest {lowest}, highest {highest}."
            )
        return " ".join(sentences)

    def format_value(self, value: float | None) -> str:
        """Formats a value for text and tables."""
        if value is None:
            return "–"
        return format(value, self.value_format or self._shared_format)

    @functools.cached_property
    def _shared_format(self) -> str:
        return number_format(map(float, self._values), decimals=3)

    def table(self, most: int = 40) -> list[tuple[str, list[str]]]:
        """Returns the values of all series by x, thinned to at most `most` rows."""
        values = [{point.x: point.mean for point in line.points} for line in self.drawn]
        xs = sorted({x for means in values for x in means})
        return [
            (f"{x:g}", [self.format_value(means.get(x)) for means in values])
            for x in _evenly(xs, most)
        ]


def _means(line: Series) -> list[Point]:
    return [point for point in line.points if point.mean is not None]


def thinned(points: Sequence[Point]) -> list[Point]:
    """Thins points evenly to `MOST_POINTS`; keeps the first and the last."""
    return _evenly(points, MOST_POINTS)


def _evenly(items: Sequence[Item], most: int) -> list[Item]:
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[..., float]:
    """Returns the linear function that maps `low` to `start` and `high` to `end`."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def linear_ticks(
    low: float, high: float, *, whole: bool = False
) -> list[tuple[float, str]]:
    """Returns about `TICKS` round numbers from `low` to `high`, and their labels."""
    if high - low < SMALLEST:
        return [(low, f"{low:g}")]
    rough = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * by for by in (1, 2, 5, 10) if unit * by >= rough)
    if whole:
        step = max(1.0, round(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [
        (number * step, f"{number * step:.{decimals}f}")
        for number in range(first, last + 1)
    ]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Returns powers of ten and labels; over few decades 2 and 5 times them too."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(exponents) <= 4 else (1,)
    exponents = exponents[:: math.ceil(len(exponents) / (2 * TICKS))]
    plain = exponents[0] >= -3 and exponents[-1] <= 3
    return [
        (value, f"{value:g}" if plain else power_of_ten(exponent, factor))
        for exponent in exponents
        for factor in factors
        if low <= (value := factor * 10.0**exponent) <= high
    ]


def power_of_ten(exponent: int, factor: int = 1) -> str:
    """Formats `factor` × 10 to the `exponent` with superscripts."""
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'' if factor == 1 else f'{factor}·'}10{raised}"
