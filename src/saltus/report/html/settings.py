"""The settings of what was done, as a person would write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from saltus.report.html.blocks import Folded


def fold_settings(groups: Mapping[str, Mapping[str, Any]]) -> list[Folded]:
    """All settings by group; code, which is a setting named `source`, has a block of its own."""
    shown = {
        group: {key.replace("_", " "): _format(value) for key, value in values.items() if key != "source"}
        for group, values in groups.items()
    }
    code = {group: str(values["source"]) for group, values in groups.items() if "source" in values}
    return [
        Folded("All settings", shown),
        *(Folded(f"The code of its {group}", code=source) for group, source in code.items()),
    ]


def _format(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case {"first": first, "factor": factor, "every": every}:
            return f"from {first} by a factor of {factor:g} up to {every}, then every that many"
        case Mapping():
            return ", ".join(f"{key} {_format(item)}" for key, item in value.items()) or "none"
        case Sequence() if not isinstance(value, str):
            return ", ".join(_format(item) for item in value)
        case _:
            return str(value)
