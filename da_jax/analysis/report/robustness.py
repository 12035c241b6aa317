"""Figures of `da_jax.robustness` by what was done to the images."""

from collections.abc import Callable, Mapping
from typing import Any

from da_jax.analysis.report.json_tables import told

Labels = Callable[[Mapping[str, Any], int], list[str]]
"""(what a file holds, how many figures there are) to a label for each."""


def _budgets(content: Mapping[str, Any], count: int) -> list[str]:
    settings = content.get("settings")
    budgets = settings.get("budgets") if isinstance(settings, Mapping) else None
    if not isinstance(budgets, list) or len(budgets) != count:
        return [f"#{number}" for number in range(1, count + 1)]
    return [f"{told(budget)}/255" for budget in budgets]


LABELS: dict[str, Labels] = {
    "disagreement": lambda _, count: [f"step {step}" for step in range(count)],
    "attacks": _budgets,
    "corruptions": lambda _, count: [f"severity {1 + of}" for of in range(count)],
}
"""By part, of the figures in its lists."""


def labelled(content: Mapping[str, Any]) -> dict[str, Any]:
    """What `robustness.json` holds, with labelled figures in the place of its lists."""

    def figures(part: str, values: Any) -> Any:
        if not isinstance(values, list):
            return values
        return dict(zip(LABELS[part](content, len(values)), values, strict=True))

    def curves(part: str, network: Any) -> Any:
        if not isinstance(network, Mapping):
            return network
        return {kind: figures(part, values) for kind, values in network.items()}

    found = dict(content)
    for part in LABELS:
        if isinstance(networks := found.get(part), Mapping):
            found[part] = {name: curves(part, of) for name, of in networks.items()}
    return found
