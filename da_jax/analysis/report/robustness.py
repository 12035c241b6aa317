"""Labels for the lists in `robustness.json`."""

from collections.abc import Callable, Mapping
from typing import Any

from da_jax.analysis.report.json_tables import as_text

Labels = Callable[[Mapping[str, Any], int], list[str]]
"""(content of the file, number of values) to a label for each value."""


def _budgets(content: Mapping[str, Any], count: int) -> list[str]:
    settings = content.get("settings")
    budgets = settings.get("budgets") if isinstance(settings, Mapping) else None
    if not isinstance(budgets, list) or len(budgets) != count:
        return [f"#{number}" for number in range(1, count + 1)]
    return [f"{as_text(budget)}/255" for budget in budgets]


LABELS: dict[str, Labels] = {
    "disagreement": lambda _, count: [f"step {step}" for step in range(count)],
    "attacks": _budgets,
    "corruptions": lambda _, count: [f"severity {1 + level}" for level in range(count)],
}
"""By part of the file."""


def label_values(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of `robustness.json` with its lists as labelled values."""

    def label(part: str, values: Any) -> Any:
        if not isinstance(values, list):
            return values
        return dict(zip(LABELS[part](content, len(values)), values, strict=True))

    def curves(part: str, network: Any) -> Any:
        if not isinstance(network, Mapping):
            return network
        return {kind: label(part, values) for kind, values in network.items()}

    found = dict(content)
    for part in LABELS:
        if isinstance(networks := found.get(part), Mapping):
            found[part] = {name: curves(part, each) for name, each in networks.items()}
    return found
