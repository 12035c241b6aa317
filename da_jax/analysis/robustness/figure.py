"""A measurement's figures as a figure: a panel for each way to make images harder."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from da_jax.analysis.robustness.report import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
PANEL_INCHES = (3.4, 2.6)
TEACHER_COLOR = "0.35"


@dataclasses.dataclass(frozen=True)
class Line:
    """A network's accuracy in a panel.

    Attributes:
      label: in the legend, where equal ones are one.
      color: matplotlib's name of it.
      style: matplotlib's name of it.
      accuracies: in %.
    """

    label: str
    color: str
    style: str
    accuracies: list[float]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One way to make images harder.

    Attributes:
      title: its name.
      unit: of its strengths.
      strengths: from 0, the images as they are.
      lines: an accuracy for each strength.
    """

    title: str
    unit: str
    strengths: list[float]
    lines: list[Line]


def draw(results: Results) -> "Figure":
    """The figure of all parts that `results` has."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = create_panels(results)
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = columns * PANEL_INCHES[0], rows * PANEL_INCHES[1] + 0.5
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    labelled = {}
    for ax, panel in zip(axes.flat, panels, strict=False):
        for line in panel.lines:
            (labelled[line.label],) = ax.plot(
                panel.strengths,
                line.accuracies,
                color=line.color,
                linestyle=line.style,
                marker=".",
                clip_on=False,
            )
        ax.set(title=panel.title, xlabel=panel.unit, ylim=(0, 100))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)")
    figure.legend(
        labelled.values(), labelled, loc="outside lower center", ncols=2 * columns
    )
    return figure


def save(results: Results, path: Path) -> None:
    """Draws `results` into a PNG file."""
    draw(results).savefig(path, dpi=100)


def in_words(results: Results) -> str:
    """What the figure shows, for those who can't see it."""
    sentences = []
    for panel in create_panels(results):
        lines = [
            f"{line.label} {line.accuracies[0]:.1f} → {line.accuracies[-1]:.1f} %"
            for line in panel.lines
        ]
        ends = f"{panel.strengths[0]:g} to {panel.strengths[-1]:g}"
        sentences.append(f"{panel.title}, {panel.unit} {ends}: {', '.join(lines)}.")
    return " ".join(["Charts of accuracy.", *sentences])


def create_panels(results: Results) -> list[Panel]:
    """What there is to be drawn."""
    panels = []
    if "disagreement" in results:
        panels.append(_ascent_panel(results))
    budgets = [0.0, *results["settings"]["budgets"]]
    for name in _kinds(results, "attacks"):
        lines = _lines(results, "attacks", name)
        panels.append(Panel(name, "budget in L∞ (255ths)", budgets, lines))
    for name in _kinds(results, "corruptions"):
        lines = _lines(results, "corruptions", name)
        severities = [float(of) for of in range(len(lines[0].accuracies))]
        panels.append(Panel(name, "severity", severities, lines))
    return panels


def _ascent_panel(results: Results) -> Panel:
    teacher, lines = results["teacher"]["name"], []
    curves = results["disagreement"]
    for name, color in _colors(results).items():
        lines.append(Line(name, color, "-", curves[name]["student"]))
        if len(curves) == 1:
            label, color = f"{teacher}, the teacher", TEACHER_COLOR
        else:
            label = f"{teacher} on {name}'s images"
        lines.append(Line(label, color, "--", curves[name]["teacher"]))
    steps = [float(step) for step in range(len(lines[0].accuracies))]
    return Panel("Disagreement Augmentation", "ascent steps", steps, lines)


def _lines(results: Results, part: str, kind: str) -> list[Line]:
    """Of every network, from its clean accuracy on."""
    teacher = results["teacher"]["name"]
    styles = {name: (name, color, "-") for name, color in _colors(results).items()}
    styles[teacher] = (f"{teacher}, the teacher", TEACHER_COLOR, "--")
    return [
        Line(*style, [results["clean"][name], *results[part][name][kind]])
        for name, style in styles.items()
    ]


def _colors(results: Results) -> dict[str, str]:
    """Of the students."""
    return {of["name"]: f"C{index}" for index, of in enumerate(results["students"])}


def _kinds(results: Results, part: str) -> list[str]:
    """The attacks or corruptions that were measured, if any."""
    return list(next(iter(results[part].values()))) if part in results else []
