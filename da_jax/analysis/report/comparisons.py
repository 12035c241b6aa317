"""Differences between rows that differ in method or augmentation, with intervals."""

import dataclasses
import statistics
import warnings
from collections.abc import Mapping, Sequence, Set

from scipy import stats

from da_jax.analysis.report.formats import signed
from da_jax.analysis.report.settings import differ_in_method_alone, settings
from da_jax.analysis.report.table import Row, escaped

CONFIDENCE = 0.95

Accuracies = Mapping[int, float]
"""Top-1 accuracies in %, by seed."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of top-1 accuracies in percentage points.

    Attributes:
      mean: over the students.
      low: the lower end of its confidence interval; None for a single student.
      high: the upper end.
    """

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> str:
        """The confidence interval in brackets, or that there is none."""
        if self.low is None or self.high is None:
            return "no interval"
        return f"[{signed(self.low)}, {signed(self.high)}]"

    @property
    def verdict(self) -> str:
        """What the interval says about the difference."""
        if self.low is None or self.high is None:
            return "a single seed"
        if self.low <= 0 <= self.high:
            return "within noise"
        return "higher" if self.mean > 0 else "lower"

    def __str__(self) -> str:
        """Formats the difference, its interval and the verdict."""
        return f"{signed(self.mean)} {self.interval}, {self.verdict}"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two rows with the same settings, but for the method or the augmentation.

    Attributes:
      row: the one whose gain it is.
      baseline: the one it is compared with.
      best: the difference at the best epochs.
      last: the difference at the last epochs.
      test: the number of students and the kind of interval, in words.
    """

    row: Row
    baseline: Row
    best: Difference
    last: Difference
    test: str

    @property
    def name(self) -> str:
        """The methods of both rows as a difference."""
        return f"{self.row.plain_method} − {self.baseline.plain_method}"


def comparisons(table: Sequence[Row]) -> list[Comparison]:
    """Compares finished rows that differ in the method or the augmentation alone.

    An augmentation is compared with none, DA with every other one, and a method with
    KD under the same augmentation.
    """
    finished = [row for row in table if row.is_finished and row.best and row.last]
    return [
        _compare(row, baseline)
        for row in finished
        for baseline in finished
        if _is_compared(row, baseline)
    ]


def _is_compared(row: Row, baseline: Row) -> bool:
    if row.pair != baseline.pair or row.config is None or baseline.config is None:
        return False
    (method, own), (other, without) = (
        (each.config["method"], each.config["augmentation"])
        for each in (row, baseline)
        if each.config is not None
    )
    if method == other:
        is_first = without == "none" or own == "disagreement"
        is_wanted = own not in (without, "none") and is_first
    else:
        is_wanted = own == without and other == "KD"
    return is_wanted and differ_in_method_alone(
        settings(row.runs[0]), settings(baseline.runs[0])
    )


def _compare(row: Row, baseline: Row) -> Comparison:
    best, last = (
        difference(_accuracies(row, which), _accuracies(baseline, which))
        for which in ("best", "last")
    )
    own, other = _accuracies(row, "last").keys(), _accuracies(baseline, "last").keys()
    return Comparison(row, baseline, best, last, _describe(own, other))


def _accuracies(row: Row, which: str) -> dict[int, float]:
    """Returns the test accuracies at the best or last epoch, by seed."""
    return {
        seed["seed"]: seed[which]["test_top1"] for run in row.runs for seed in run.seeds
    }


def difference(own: Accuracies, other: Accuracies) -> Difference:
    """Compares accuracies: paired by seed if one side has all seeds of the other.

    Otherwise both sides are independent samples, with an interval by Welch's t-test.

    Args:
      own: the accuracies by seed.
      other: those that they are compared with.
    """
    paired = _paired_seeds(own.keys(), other.keys())
    if paired:
        one, two = ([side[seed] for seed in paired] for side in (own, other))
    else:
        one, two = list(own.values()), list(other.values())
    mean = statistics.fmean(one) - statistics.fmean(two)
    if min(len(one), len(two)) < 2:
        return Difference(mean)
    with warnings.catch_warnings():
        # Students that differ by rounding alone have an interval of no length.
        warnings.simplefilter("ignore", RuntimeWarning)
        if paired:
            result = stats.ttest_rel(one, two)
        else:
            result = stats.ttest_ind(one, two, equal_var=False)
        low, high = map(float, result.confidence_interval(CONFIDENCE))
    return Difference(mean, low, high)


def _paired_seeds(own: Set[int], other: Set[int]) -> list[int]:
    """Returns the seeds of the side with fewer, if the other side has all of them."""
    shared = set(own) & set(other)
    return sorted(shared) if len(shared) == min(len(own), len(other)) else []


def _describe(own: Set[int], other: Set[int]) -> str:
    paired = _paired_seeds(own, other)
    if paired:
        plural = "s" * (len(paired) > 1)
        return f"{len(paired)} seed{plural}, paired"
    return f"{len(own)} and {len(other)} seeds, Welch’s t"


def markdown(found: Sequence[Comparison]) -> str:
    """Formats comparisons as a Markdown table; empty without any."""
    if not found:
        return ""
    header = ("pair", "difference", "best, points", "last, points", "students")
    lines = [header, ("---",) * len(header)]
    lines += [
        (
            one.row.pair,
            ", ".join((one.name, *one.row.differing)),
            str(one.best),
            str(one.last),
            one.test,
        )
        for one in found
    ]
    return "".join(f"| {' | '.join(map(escaped, line))} |\n" for line in lines)
