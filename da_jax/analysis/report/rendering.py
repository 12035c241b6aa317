"""Rendering of the templates: the page, and charts as SVG files."""

import re
from collections.abc import Mapping, Sequence

import jinja2
from markupsafe import Markup

from da_jax.analysis.report.chart import Chart

ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("da_jax.analysis.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def source(name: str) -> str:
    """Returns the source of a template."""
    assert ENVIRONMENT.loader is not None
    return ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0]


def draw(chart: Chart) -> str:
    """Renders a chart as a standalone SVG, for light and dark backgrounds."""
    style = Markup(source("drawing.css"))
    return ENVIRONMENT.get_template("drawing.svg").render(chart=chart, style=style)


def draw_all(charts: Mapping[str, Sequence[Chart]]) -> dict[str, str]:
    """Renders charts, which are given by data set; returns SVGs by file name."""
    return {
        file_name(dataset, chart): draw(chart)
        for dataset, drawn in charts.items()
        for chart in drawn
    }


def file_name(dataset: str, chart: Chart) -> str:
    """Returns the file name of a chart, with unusual characters replaced."""
    name = chart.key.partition("-")[2]
    return re.sub(r"[^\w-]", "_", f"{dataset}_{name}", flags=re.ASCII)[:100] + ".svg"
