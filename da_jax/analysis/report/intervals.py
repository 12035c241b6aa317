"""The drawings of confidence intervals around a common zero."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from da_jax.analysis.report.comparisons import Comparison, Difference

WIDTH, HEIGHT = 200, 20
MARGIN = 6


@dataclasses.dataclass(frozen=True)
class IntervalDrawing:
    """Positions in a drawing of `width` × `height`, with zero in its middle.

    Attributes:
      x: of the mean.
      low: the left end of the interval, `x` without one.
      high: the right end.
      is_noise: whether there is no interval, or it contains zero.
    """

    width: ClassVar[int] = WIDTH
    height: ClassVar[int] = HEIGHT

    x: float
    low: float
    high: float
    is_noise: bool


def largest_end(found: Iterable[Comparison]) -> float:
    """Returns the largest distance from zero in drawings of comparisons."""
    ends = [
        abs(value)
        for one in found
        for difference in (one.best, one.last)
        for value in (difference.mean, difference.low, difference.high)
        if value is not None
    ]
    return max(ends, default=0.0) or 1.0


def draw_interval(difference: Difference, limit: float) -> IntervalDrawing:
    """Returns the positions of a difference.

    Args:
      difference: the difference.
      limit: the value at the right edge.
    """

    def position(value: float | None) -> float:
        value = difference.mean if value is None else value
        return round(WIDTH / 2 + value / limit * (WIDTH / 2 - MARGIN), 1)

    return IntervalDrawing(
        x=position(difference.mean),
        low=position(difference.low),
        high=position(difference.high),
        is_noise=difference.verdict not in ("higher", "lower"),
    )
