"""What others have and a curve has not: steps of the grid, seeds of a group."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from saltus.curves import Curve
from saltus.ingest.ledger import Ledger

_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}

_SHOWN = 3


def add_missing(curves: Sequence[Curve], ledger: Ledger) -> list[Curve]:
    """The same curves, with the steps that they lack beside those that they are known to.

    A step should be there if at least half of the other seeds of the group have it for the unit. A seed without
    others in its group is compared with those of other groups, and then up to its own last step alone: how long a
    group is trained is its own affair.
    """
    of_unit: dict[str, list[Curve]] = defaultdict(list)
    for curve in curves:
        of_unit[curve.key.unit].append(curve)
    found: dict[tuple[str, ...], tuple[int, ...]] = {}
    for unit in of_unit.values():
        of_group: dict[str, list[Curve]] = defaultdict(list)
        for curve in unit:
            of_group[curve.key.group].append(curve)
        everywhere = _count_steps(unit)
        for group in of_group.values():
            alone = len(group) == 1
            steps, others = (everywhere, len(unit) - 1) if alone else (_count_steps(group), len(group) - 1)
            grid = {step for step, count in steps.items() if 2 * count >= others}
            for curve in group:
                end = int(curve.steps[-1]) if alone else max(grid, default=0)
                own = {*curve.steps.tolist(), *curve.missing}
                lacking = sorted(step for step in grid - own if step <= end)
                found[curve.key] = tuple(sorted({*lacking, *curve.missing}))
                if lacking:
                    shown = ", ".join(f"{step:,}" for step in lacking[:_SHOWN])
                    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
                    ledger.add(
                        "curve lacks steps that others have, where its intervals are wider",
                        "curves lack steps that others have, where their intervals are wider",
                        f"{', '.join(curve.key)}: {shown}{more}",
                    )
    return [replace(curve, missing=found[curve.key]) for curve in curves]


def say_missing_seeds(curves: Sequence[Curve], ledger: Ledger) -> None:
    """Say which groups lack a seed that all others have, where groups share most of their seeds."""
    seeds: dict[str, set[str]] = defaultdict(set)
    for curve in curves:
        seeds[curve.key.group].add(curve.key.seed)
    for group, own in seeds.items():
        others = [each for name, each in seeds.items() if name != group]
        lacking = set[str].intersection(*others) - own if others else set[str]()
        if lacking and len(lacking) <= len(own & set[str].union(*others)):
            for seed in sorted(lacking, key=sort_naturally):
                one = "seed is missing from a group, and all others have it"
                ledger.add(one, "seeds are missing from a group, and all others have them", f"{group}, seed {seed}")


def sort_naturally(name: str) -> list[tuple[float, str]]:
    """A key by which numbers are in their order, with the size that letters give them: 70m, 160m, 1.4b.

    >>> sorted(["pythia-1.4b", "pythia-160m-deduped", "pythia-70m", "pythia-160m"], key=sort_naturally)
    ['pythia-70m', 'pythia-160m', 'pythia-160m-deduped', 'pythia-1.4b']
    """
    parts = re.findall(r"(\d{1,15}(?:\.\d{1,15})?)([kmbt]?)(?![a-z])|(\d+|[^\d]+)", name.lower())
    return [(float(number) * _SCALES[scale], "") if number else (-1.0, other) for number, scale, other in parts]


def _count_steps(curves: Sequence[Curve]) -> Counter[int]:
    return Counter(step for curve in curves for step in curve.steps.tolist())
