"""What fills the templates: the page's, and a chart's as a file of its own."""

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
    """A template as it is."""
    assert ENVIRONMENT.loader is not None
    return ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0]


def draw(chart: Chart) -> str:
    """A chart as an SVG that brings its style along, for light and dark."""
    style = Markup(source("drawing.css"))
    return ENVIRONMENT.get_template("drawing.svg").render(chart=chart, style=style)


def draw_all(charts: Mapping[str, Sequence[Chart]]) -> dict[str, str]:
    """The SVG of every chart, by file name; `charts` is by data set."""
    return {
        file_name(dataset, chart): draw(chart)
        for dataset, of_dataset in charts.items()
        for chart in of_dataset
    }


def file_name(dataset: str, chart: Chart) -> str:
    """Of such an SVG; whatever a run calls its data set and losses, a plain name."""
    name = chart.key.partition("-")[2]
    return re.sub(r"[^\w-]", "_", f"{dataset}_{name}", flags=re.ASCII)[:100] + ".svg"
