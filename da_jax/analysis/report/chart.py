"""Line charts as the numbers of an SVG, which the template `chart.svg` draws."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 22
MOST_POINTS = 300
"""Of a line; a longer one is thinned evenly."""

COLORS = 6
"""How many colours the style sheet has; a later line has dashes too."""

TICKS = 6
"""About how many an axis has at most."""

SMALLEST = 1e-100
"""Below it a number is as good as 0."""

Item = TypeVar("Item")


def style(color: int, *, is_dotted: bool = False) -> str:
    """The classes, in the style sheet, of a line's marks."""
    dashes = "dotted" if is_dotted else f"dash{color // COLORS % 3}"
    return f"series{color % COLORS} {dashes}"


@dataclasses.dataclass(frozen=True)
class Point:
    """A line at one x: its mean, the lowest and the highest; None where there is none.

    A gap is left where the mean is None.
    """

    x: float
    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """A line, and the band around it where several were drawn into one.

    Attributes:
      label: for the legend.
      points: in the order of x.
      color: which of the colours, from 0; from `COLORS` on, again with dashes.
      is_dotted: whether it is another line's companion.
    """

    label: str
    points: list[Point]
    color: int
    is_dotted: bool = False

    @property
    def style(self) -> str:
        """The classes of its marks."""
        return style(self.color, is_dotted=self.is_dotted)


@dataclasses.dataclass(frozen=True)
class Chart:
    """Lines over one x axis, with what a template needs to draw them.

    Attributes:
      key: unique in a page, for ids.
      title: what the y axis is.
      lines: at least one.
      form: how a value is written.
    """

    width: ClassVar[int] = WIDTH
    height: ClassVar[int] = HEIGHT
    left: ClassVar[int] = LEFT
    right: ClassVar[int] = WIDTH - RIGHT
    bottom: ClassVar[int] = HEIGHT - BOTTOM

    key: str
    title: str
    lines: list[Line]
    form: str = ".2f"

    @functools.cached_property
    def is_logarithmic(self) -> bool:
        """Whether the values are positive and spread over more than a decade."""
        low, high = self._extent
        return low > SMALLEST and high / low > 20

    @property
    def drawn(self) -> list[Line]:
        """The lines that have a value."""
        return [line for line in self.lines if _means(line)]

    @property
    def longest_label(self) -> int:
        """How many characters it has."""
        return max(len(line.label) for line in self.drawn)

    @functools.cached_property
    def _extent(self) -> tuple[float, float]:
        values = [
            value
            for line in self.lines
            for point in line.points
            for value in (point.mean, point.low, point.high)
            if value is not None
        ]
        return min(values), max(values)

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
        margin = max(0.05 * (high - low), 1e-6 * abs(high)) or 1.0
        return low - margin, high + margin

    def _y(self, value: float) -> float:
        domain = self._y_domain
        if self.is_logarithmic:
            value, *ends = (math.log(number) for number in (value, *domain))
            domain = (ends[0], ends[1])
        return _scale(*domain, HEIGHT - BOTTOM, TOP)(value)

    @functools.cached_property
    def _exponent(self) -> int:
        """The power of ten that values are written in units of, if they're tiny."""
        largest = max(map(abs, self._extent))
        if self.is_logarithmic or not SMALLEST < largest < 1e-2:
            return 0
        return math.floor(math.log10(largest))

    @property
    def heading(self) -> str:
        """The title, and the unit of what is written beside the y axis."""
        unit = f" (× {power_of_ten(self._exponent)})" if self._exponent else ""
        return self.title + unit

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Where a value is written beside the y axis."""
        unit = 10.0**self._exponent
        low, high = (value / unit for value in self._y_domain)
        ticks = log_ticks(low, high) if self.is_logarithmic else linear_ticks(low, high)
        return [(round(self._y(value * unit), 1), text) for value, text in ticks]

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Where a whole x is written below the x axis."""
        xs = [point.x for line in self.drawn for point in line.points]
        ticks = linear_ticks(min(xs), max(xs), whole=True)
        return [(round(self._x(value), 1), text) for value, text in ticks]

    def path(self, line: Line) -> str:
        """An SVG path along the means."""
        parts: list[str] = []
        command = "M"
        for point in thinned(line.points):
            if point.mean is None:
                command = "M"
                continue
            parts.append(f"{command}{self._at(point.x, point.mean)}")
            command = "L"
        return "".join(parts)

    def band(self, line: Line) -> str:
        """An SVG path from the lowest to the highest; empty where they are one."""
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

    def end(self, line: Line) -> tuple[float, float]:
        """Where the line ends."""
        last = _means(line)[-1]
        assert last.mean is not None
        return round(self._x(last.x), 1), round(self._y(last.mean), 1)

    def _at(self, x: float, value: float) -> str:
        return f"{self._x(x):.1f} {self._y(value):.1f}"

    @property
    def description(self) -> str:
        """The essential figures of every line, in words."""
        told = []
        for line in self.drawn:
            points = _means(line)
            low = min(points, key=lambda point: point.mean or 0.0)
            high = max(points, key=lambda point: point.mean or 0.0)
            told.append(
                f"{line.label}: {self._told(points[0])}, {self._told(points[-1])};"
                f" lowest {self._told(low)}, highest {self._told(high)}."
            )
        return " ".join(told)

    def _told(self, point: Point) -> str:
        return f"{self.figure(point.mean)} in epoch {point.x:g}"

    def figure(self, value: float | None) -> str:
        """A value as it is written in tables."""
        return "–" if value is None else format(value, self.form)

    def table(self, most: int = 40) -> list[tuple[str, list[str]]]:
        """Values by x of every line, at most about so many, the first and last too."""
        values = [{point.x: point.mean for point in line.points} for line in self.drawn]
        xs = sorted({x for of_line in values for x in of_line})
        return [
            (f"{x:g}", [self.figure(of_line.get(x)) for of_line in values])
            for x in _evenly(xs, most)
        ]


def _means(line: Line) -> list[Point]:
    return [point for point in line.points if point.mean is not None]


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most `MOST_POINTS` of them, evenly, the first and last too."""
    return _evenly(points, MOST_POINTS)


def _evenly(items: Sequence[Item], most: int) -> list[Item]:
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[..., float]:
    """The linear function that takes `low` to `start` and `high` to `end`."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def linear_ticks(
    low: float, high: float, *, whole: bool = False
) -> list[tuple[float, str]]:
    """Round numbers from `low` to `high`, at most about `TICKS`, and as text."""
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
    """Powers of ten from `low` to `high`; of few decades, 2 and 5 times them too."""
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
    """`factor` × 10 to the `exponent`, as people write it."""
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'' if factor == 1 else f'{factor}·'}10{raised}"
