"""What is confirmed while a training goes on: a value passed a level and stays there, as in `find_emergence`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from saltus.monitor.records import Event, Row, name_head
from saltus.specs.monitor import MonitorSpec

NAMES = ("step", "loss", "overhead")
"""Of the numbers in a row that are not asked for."""

_SHOWN_HEADS = 6


class Watch:
    """Values over training that are there or not, [unit]; says which changed as soon as `hold` probes confirm it."""

    def __init__(self, units: int, hold: int) -> None:
        self._hold = hold
        self.there = np.zeros(units, dtype=bool)
        """[unit] as far as it is confirmed."""
        self._streak = np.zeros(units, dtype=np.int64)  # probes in a row that say otherwise
        self._since = np.full(units, -1)  # the first step of these
        self._before = np.full(units, -1)  # the last step that agreed
        self.after, self.by = np.full(units, -1), np.full(units, -1)
        """[unit] of the change that was confirmed last: the last step before, the first step with it."""

    def feed(self, step: int, above: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The units, [changed], whose change this probe confirms; `above` and `known` are [unit].

        What is not known is left out, as if the probe had not been.
        """
        differs = known & (above != self.there)
        agrees = known & ~differs
        self._since[differs & (self._streak == 0)] = step
        self._streak[differs] += 1
        self._streak[agrees] = 0
        self._before[agrees] = step
        changed = np.flatnonzero(self._streak >= self._hold)
        self.after[changed], self.by[changed] = self._before[changed], self._since[changed]
        self.there[changed] ^= True
        self._streak[changed] = 0
        self._before[changed] = step
        return changed


class Changes:
    """The events of one training, from its rows in their order."""

    def __init__(self, spec: MonitorSpec, chance: Sequence[float]) -> None:
        """`chance` is [pattern]."""
        self._spec = spec
        self._level = np.array(chance) + spec.sharp * (1.0 - np.array(chance))  # [pattern]
        self._capabilities = Watch(len(spec.capabilities), spec.hold)
        self._heads = Watch(0, spec.hold)
        self._shape: tuple[int, ...] = ()  # of the masses

    def feed(self, row: Row) -> list[Event]:
        """What the row confirms: capabilities, then heads."""
        return [*self._follow_capabilities(row), *self._follow_heads(row)]

    def _follow_capabilities(self, row: Row) -> list[Event]:
        names, watch = self._spec.capabilities, self._capabilities
        values = np.array([row.shares.get(name, np.nan) for name in names], dtype=np.float64)
        changed = watch.feed(row.step, values >= self._spec.threshold, np.isfinite(values))
        return [
            describe(
                Event(
                    kind="emerged" if watch.there[unit] else "lost",
                    step=row.step,
                    unit=names[unit],
                    after=int(watch.after[unit]),
                    by=int(watch.by[unit]),
                    value=float(values[unit]),
                )
            )
            for unit in changed
        ]

    def _follow_heads(self, row: Row) -> list[Event]:
        if row.masses is None:
            return []
        if row.masses.shape != self._shape:  # the first ones, or those of a model that has grown
            self._heads, self._shape = Watch(row.masses.size, self._spec.hold), row.masses.shape
        watch = self._heads
        above = row.masses >= self._level  # [layer, head, pattern]
        changed = watch.feed(row.step, above.ravel(), np.isfinite(row.masses).ravel())
        events: list[Event] = []
        for unit in changed:
            layer, head, pattern = (int(place) for place in np.unravel_index(unit, row.masses.shape))
            event = Event(
                kind="sharpened" if watch.there[unit] else "blurred",
                step=row.step,
                unit=self._spec.patterns[pattern],
                after=int(watch.after[unit]),
                by=int(watch.by[unit]),
                value=float(row.masses[layer, head, pattern]),
                layer=layer,
                head=head,
            )
            events.append(describe(event))
        return sorted(events, key=lambda event: (event.kind, self._spec.patterns.index(event.unit)))


def describe(event: Event) -> Event:
    """The event with its sentence."""
    came = f"between steps {event.after:,} and {event.by:,}" if event.after >= 0 else f"by step {event.by:,}"
    match event.kind:
        case "emerged":
            text = f"{event.unit} emerged {came}: {event.value:.0%} now"
        case "lost":
            text = f"{event.unit} was lost {came}: {event.value:.0%} now"
        case "sharpened" | "blurred":
            verb = "sharpened to" if event.kind == "sharpened" else "went away from"
            text = f"{name_head(event.layer, event.head)} {verb} {event.unit} {came}: mass {event.value:.2f} now"
        case _:
            return event
    return replace(event, text=text)


def say(events: Sequence[Event]) -> list[str]:
    """Lines for people, one for all heads of one pattern that changed alike."""
    lines: list[str] = []
    for (kind, unit, heads), several in groupby(events, key=lambda event: (event.kind, event.unit, event.head >= 0)):
        group = list(several)
        if not heads or len(group) == 1:
            lines += [f"step {event.step:,}: {event.text}" for event in group]
            continue
        shown = ", ".join(f"{event.layer}.{event.head}" for event in group[:_SHOWN_HEADS])
        more = f" and {len(group) - _SHOWN_HEADS} more" if len(group) > _SHOWN_HEADS else ""
        verb = "sharpened to" if kind == "sharpened" else "went away from"
        lines.append(f"step {group[0].step:,}: {len(group)} heads {verb} {unit}: {shown}{more} (layer.head)")
    return lines


def name_probability(capability: str) -> str:
    """Of the mean probability of its targets."""
    return f"{capability} probability"


def list_numbers(row: Row, patterns: Sequence[str]) -> Mapping[str, float]:
    """What trackers are told of a row, by name: capabilities, own numbers, the strongest head of each pattern, loss."""
    numbers = {**row.shares, **{name_probability(name): value for name, value in row.probabilities.items()}}
    numbers |= row.scalars
    if row.masses is not None and row.masses.size:
        numbers |= dict(zip(patterns, row.masses.max((0, 1)).tolist(), strict=True))
    if row.loss is not None:
        numbers["loss"] = row.loss
    if row.training > 0.0:
        numbers["overhead"] = row.spent / row.training
    return {name: value for name, value in numbers.items() if np.isfinite(value)}
