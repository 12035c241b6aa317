"""The differences between rows of the report, and their confidence intervals."""

import math

import numpy as np
import pytest
from da_jax.configs import resnet8x4

from da_jax.analysis.report.comparisons import comparisons, difference, markdown
from da_jax.analysis.report.intervals import draw_interval, largest_end
from tests.run_folders import make_run, table_of

T_OF_ONE, T_OF_FOUR = 12.7062, 2.77645
"""Student's t at 97.5 %, by degrees of freedom."""


def test_seeds_that_both_have_are_paired():
    rng = np.random.default_rng(0)
    kd = dict(enumerate(rng.normal(70, 1, 5)))
    gains = rng.normal(0.8, 0.1, 5)
    da = {seed: kd[seed] + gains[seed] for seed in kd}
    found = difference(da, kd)
    half = T_OF_FOUR * gains.std(ddof=1) / math.sqrt(5)
    assert found.mean == pytest.approx(gains.mean())
    assert (found.low, found.high) == pytest.approx(
        (gains.mean() - half, gains.mean() + half), rel=1e-4
    )
    assert found.verdict == "higher"
    assert difference(kd, da).verdict == "lower"
    # Three of the five are finished: compared with the same seeds.
    part = difference({seed: da[seed] for seed in (0, 1, 2)}, kd)
    assert part.mean == pytest.approx(gains[:3].mean())


def test_other_seeds_are_independent_samples():
    """Welch's interval by hand, of other variances and numbers."""
    one, two = np.array([74.0, 75.0, 74.6]), np.array([73.0, 73.1])
    found = difference(dict(zip((0, 1, 2), one, strict=True)), {1: 73.0, 9: 73.1})
    parts = [side.var(ddof=1) / len(side) for side in (one, two)]
    assert found.mean == pytest.approx(one.mean() - two.mean())
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 1)
    assert 2 < freedom < 3  # Student's t is between those of 2 and 3
    half = (found.high - found.low) / 2 / math.sqrt(sum(parts))
    assert 3.1824 < half < 4.3027


def test_two_seeds_are_rarely_enough():
    found = difference({0: 51.36, 1: 51.06}, {0: 51.13, 1: 51.08})
    half = T_OF_ONE * np.std([0.23, -0.02], ddof=1) / math.sqrt(2)
    assert (found.low, found.high) == pytest.approx((0.105 - half, 0.105 + half), 1e-3)
    assert found.verdict == "within noise"
    assert str(found) == "+0.10 [−1.48, +1.69], within noise"


def test_a_single_seed_has_no_interval():
    for one, two in (({0: 70.0}, {0: 69.0}), ({0: 70.0}, {1: 69.0, 2: 69.0})):
        found = difference(one, two)
        assert (found.mean, found.low, found.high) == (pytest.approx(1.0), None, None)
        assert str(found) == "+1.00 no interval, a single seed"
    # Of the other row's seeds, only the one that both have counts.
    assert difference({0: 70.0}, {0: 69.0, 1: 50.0}).mean == pytest.approx(1.0)


@pytest.mark.parametrize("gain", [0.0, 0.7])
def test_equal_differences_have_an_interval_without_length(gain, recwarn):
    found = difference({0: 70.0 + gain, 1: 71.0 + gain}, {0: 70.0, 1: 71.0})
    assert (found.low, found.high) == pytest.approx((gain, gain))
    assert not recwarn.list


def test_rows_that_differ_in_method_or_augmentation_alone_are_compared(tmp_path):
    def make(name, variant, **fields):
        return make_run(tmp_path / name, resnet8x4.get_config(variant), **fields)

    folders = [
        make("kd", "kd", num_seeds=2),
        make("da", "da", num_seeds=3),
        make("noise", "noise", num_seeds=2, seed=7),
        make("DKD", "DKD", num_seeds=2),
        make("short", "da", batch_size=32),
        make("half", "DKD,none", finished=False),
    ]
    found = comparisons(table_of(*folders))
    assert [(one.name, one.test) for one in found] == [
        ("KD + DA − KD", "2 seeds, paired"),
        ("KD + DA − KD + noise", "3 and 2 seeds, Welch’s t"),
        ("KD + noise − KD", "2 and 2 seeds, Welch’s t"),
        ("DKD + DA − KD + DA", "2 seeds, paired"),
    ]
    lines = markdown(found).splitlines()
    assert (
        len(lines) == 2 + len(found) and len({line.count("|") for line in lines}) == 1
    )
    limit = largest_end(found)
    for one in found:
        drawing = draw_interval(one.best, limit)
        assert 0 < drawing.low <= drawing.x <= drawing.high < drawing.width
        assert drawing.is_noise == (drawing.low <= drawing.width / 2 <= drawing.high)
    assert markdown(comparisons(table_of(folders[0]))) == ""
