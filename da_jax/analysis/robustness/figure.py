"""The figure of a measurement: a panel for the ascent, each attack and corruption."""

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
class Curve:
    """A network's accuracy in a panel.

    Attributes:
      label: in the legend, which has each label once.
      color: a matplotlib color.
      style: a matplotlib line style.
      accuracies: in %.
    """

    label: str
    color: str
    style: str
    accuracies: list[float]


@dataclasses.dataclass(frozen=True)
class Panel:
    """Accuracies over the strength of one ascent, attack or corruption.

    Attributes:
      title: its name.
      unit: of its strengths.
      strengths: from 0, the unchanged images.
      curves: an accuracy for each strength.
    """

    title: str
    unit: str
    strengths: list[float]
    curves: list[Curve]


def draw(results: Results) -> "Figure":
    """Draws all parts of `results`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = create_panels(results)
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = columns * PANEL_INCHES[0], rows * PANEL_INCHES[1] + 0.5
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    handles = {}
    for ax, panel in zip(axes.flat, panels, strict=False):
        for curve in panel.curves:
            (handles[curve.label],) = ax.plot(
                panel.strengths,
                curve.accuracies,
                color=curve.color,
                linestyle=curve.style,
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
        handles.values(), handles, loc="outside lower center", ncols=2 * columns
    )
    return figure


def save(results: Results, path: Path) -> None:
    """Draws `results` to a PNG file."""
    draw(results).savefig(path, dpi=100)


def alt_text(results: Results) -> str:
    """Describes the figure in words."""
    sentences = []
    for panel in create_panels(results):
        changes = [
            f"{curve.label} {curve.accuracies[0]:.1f} → {curve.accuracies[-1]:.1f} %"
            for curve in panel.curves
        ]
        ends = f"{panel.strengths[0]:g} to {panel.strengths[-1]:g}"
        sentences.append(f"{panel.title}, {panel.unit} {ends}: {', '.join(changes)}.")
    return " ".join(["Charts of accuracy.", *sentences])


def create_panels(results: Results) -> list[Panel]:
    """Returns the panels of all parts of `results`."""
    panels = []
    if "disagreement" in results:
        panels.append(_ascent_panel(results))
    budgets = [0.0, *results["settings"]["budgets"]]
    for name in _measured(results, "attacks"):
        curves = _curves(results, "attacks", name)
        panels.append(Panel(name, "budget in L∞ (255ths)", budgets, curves))
    for name in _measured(results, "corruptions"):
        curves = _curves(results, "corruptions", name)
        severities = [float(index) for index in range(len(curves[0].accuracies))]
        panels.append(Panel(name, "severity", severities, curves))
    return panels


def _ascent_panel(results: Results) -> Panel:
    teacher, measured = results["teacher"]["name"], results["disagreement"]
    curves = []
    for name, color in _colors(results).items():
        curves.append(Curve(name, color, "-", measured[name]["student"]))
        if len(measured) == 1:
            label, color = f"{teacher}, the teacher", TEACHER_COLOR
        else:
            label = f"{teacher} on {name}'s images"
        curves.append(Curve(label, color, "--", measured[name]["teacher"]))
    steps = [float(step) for step in range(len(curves[0].accuracies))]
    return Panel("Disagreement Augmentation", "ascent steps", steps, curves)


def _curves(results: Results, part: str, kind: str) -> list[Curve]:
    """Returns each network's accuracies, the clean accuracy first."""
    teacher = results["teacher"]["name"]
    styles = {name: (name, color, "-") for name, color in _colors(results).items()}
    styles[teacher] = (f"{teacher}, the teacher", TEACHER_COLOR, "--")
    return [
        Curve(*style, [results["clean"][name], *results[part][name][kind]])
        for name, style in styles.items()
    ]


def _colors(results: Results) -> dict[str, str]:
    """Returns the students' colors."""
    return {each["name"]: f"C{index}" for index, each in enumerate(results["students"])}


def _measured(results: Results, part: str) -> list[str]:
    """Returns the names of the measured attacks or corruptions."""
    return list(next(iter(results[part].values()))) if part in results else []
