"""The coordinates and labels of the report's charts."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from da_jax.configs import resnet8x4

from da_jax.analysis.report.chart import MOST_POINTS, Chart, Point, Series
from da_jax.analysis.report.curves import charts
from da_jax.analysis.report.rendering import draw, file_name
from tests.run_folders import make_run, table_of


def coordinates(path):
    return [
        tuple(map(float, pair.split())) for pair in re.split("[MLZ]+", path) if pair
    ]


def line(*means):
    points = [Point(x, mean, mean, mean) for x, mean in enumerate(means, start=1)]
    return Series("a line", points, 0)


def test_a_line_goes_through_its_ticks():
    """The line passes through the ticks of its values."""
    chart = Chart("key", "title", [line(10, 20, 30, 40)])
    heights = {text: y for y, text in chart.y_ticks}
    places = {text: x for x, text in chart.x_ticks}
    for (x, y), epoch, value in zip(
        coordinates(chart.path(chart.lines[0])), "1234", (10, 20, 30, 40), strict=True
    ):
        assert (x, y) == pytest.approx((places[epoch], heights[str(value)]), abs=0.1)


def test_values_over_decades_are_drawn_by_their_logarithms():
    chart = Chart("key", "title", [line(1e-5, 1e-4, 1e-3)])
    heights = [y for _, y in coordinates(chart.path(chart.lines[0]))]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    ticks = {text: y for y, text in chart.y_ticks}
    assert ticks["10⁻⁴"] == pytest.approx(heights[1], abs=0.1)
    assert not Chart("key", "title", [line(0, 1e-5, 1e-3)]).is_logarithmic
    tiny = Chart("key", "title", [line(1e-4, 2e-4, 3e-4)])
    assert tiny.heading == "title (× 10⁻⁴)" and "2.0" in dict(
        map(reversed, tiny.y_ticks)
    )


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.05], ["0.040", "0.045", "0.050", "0.055", "0.060"]),
        ([0.05] * 3, ["0.040", "0.045", "0.050", "0.055", "0.060"]),
        ([0.05, 0.05 + 1e-9], ["0.040", "0.045", "0.050", "0.055", "0.060"]),
        ([73.5], ["60", "65", "70", "75", "80", "85"]),
        ([0.0, 0.0], ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([-3.0], ["-3.5", "-3.0", "-2.5"]),
        ([1e-4], ["0.8", "0.9", "1.0", "1.1", "1.2"]),
    ],
)
def test_constants_and_single_points_have_round_ticks(values, texts):
    chart = Chart("key", "title", [line(*values)])
    assert [text for _, text in chart.y_ticks] == texts
    ((_, height),) = set(coordinates(chart.path(chart.lines[0]))[:1])
    assert height == pytest.approx((188 + 8) / 2, abs=0.1)  # half-way up
    assert [text for _, text in chart.x_ticks] == list("123")[: len(values)]


def test_no_axis_of_percentages_goes_beyond_100():
    chart = Chart("key", "title", [line(100.0, 100.0)], ".2f", 100.0)
    assert [text for _, text in chart.y_ticks] == ["80", "85", "90", "95", "100"]


def test_the_values_of_a_chart_have_one_format():
    for values, texts in (
        ((12.5, 3.0625), ["12.500", "3.062"]),
        ((0.4, 0.1234), ["0.4000", "0.1234"]),
        ((0.05, 5e-4), ["5.00e-02", "5.00e-04"]),
    ):
        table = Chart("key", "title", [line(*values)]).table()
        assert [cells for _, cells in table] == [[text] for text in texts]


def test_a_gap_is_left_where_there_is_no_value():
    chart = Chart("key", "title", [line(1, None, 3, 4), line(None, None, None, None)])
    assert len(chart.drawn) == 1
    assert re.sub("[^ML]", "", chart.path(chart.lines[0])) == "MML"


def test_a_long_line_is_thinned_but_not_at_its_ends():
    values = np.random.default_rng(0).normal(size=5000).tolist()
    chart = Chart("key", "title", [line(*values)])
    drawn = coordinates(chart.path(chart.lines[0]))
    assert len(drawn) == MOST_POINTS
    assert drawn[-1] == pytest.approx(chart.end(chart.lines[0]), abs=0.1)
    assert drawn[0][0] < 55 and len(chart.table()) == 40
    assert chart.table()[-1][0] == "5000"


def test_the_band_reaches_from_the_lowest_to_the_highest(tmp_path):
    (drawn,) = charts(table_of(make_run(tmp_path / "run", num_seeds=3))).values()
    chart = next(each for each in drawn if each.key.endswith("test_top1"))
    first = chart.lines[0].points[0]
    assert (first.low, first.mean, first.high) == pytest.approx((20.0, 20.7, 21.4))
    assert len(coordinates(chart.band(chart.lines[0]))) == 6
    assert "20.70 in epoch 1" in chart.description
    assert "highest 74.70 in epoch 2" in chart.description
    after = next(each for each in drawn if each.key.endswith("disagreement")).lines[0]
    assert [point.mean is None for point in after.points] == [False, True, False]


def test_a_chart_is_a_picture_too(tmp_path):
    """A standalone SVG has all lines and labels, whatever names a run has."""
    folders = [
        make_run(tmp_path / "kd", num_seeds=3),
        make_run(tmp_path / "da", resnet8x4.get_config()),
    ]
    hostile = (folders[0] / "metrics.jsonl").read_text()
    hostile = hostile.replace("train_loss_ce", "train_loss_../<ce>")
    (folders[0] / "metrics.jsonl").write_text(hostile)
    ((dataset, drawn),) = charts(table_of(*folders)).items()
    pictures = {file_name(dataset, chart): chart for chart in drawn}
    assert len(pictures) == len(drawn)
    assert {"cifar100_test_top1.svg", "cifar100_train_loss_____ce_.svg"} < set(pictures)
    chart = pictures["cifar100_test_top1.svg"]
    root = ElementTree.fromstring(draw(chart))
    svg = "{http://www.w3.org/2000/svg}"
    paths = {path.get("d") for path in root.iter(f"{svg}path")}
    assert {chart.path(line) for line in chart.lines} < paths
    texts = [text.text for text in root.iter(f"{svg}text")]
    assert texts[0] == chart.title and texts[-2:] == ["KD", "KD + DA"]
    assert "--series0" in root.find(f"{svg}style").text
