"""What a monitor recorded: a row for each probe, the curves of capabilities and of patterns, and events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.curves import Curve, Curves, Key, Rule
from saltus.errors import SaltusError
from saltus.specs.monitor import MonitorSpec

NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """What one probe measured. What failed is not there."""

    step: int
    training: float
    """Seconds of training so far, without those of probes, over all sessions of the training."""
    spent: float
    """Seconds of probes so far, this one included, but for the time in which it was written."""
    loss: float | None = None
    """Mean of the losses that were given since the probe before; None if there was none."""
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    """By capability, the share of right prompts, or what a function of the user's gave."""
    probabilities: Mapping[str, float] = field(default_factory=dict[str, float])
    """By capability, the mean probability of the target."""
    scalars: Mapping[str, float] = field(default_factory=dict[str, float])
    """The user's own numbers, by name."""
    masses: NDArray[np.float64] | None = None
    """[layer, head, pattern] mass of a head's attention on each known pattern."""
    entropy: NDArray[np.float64] | None = None
    """[layer, head] of the attention, in nats, mean over the queries but the first."""
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    """By what could not be measured, why."""


@dataclass(frozen=True)
class Event:
    """Something that was confirmed while the training went on."""

    kind: str
    """`emerged` or `lost`, of a capability; `sharpened` or `blurred`, of a head's pattern; `rewound`; `failed`."""
    step: int
    """The step at which it was confirmed."""
    unit: str = ""
    """The capability or the pattern; of `failed` what could not be measured."""
    after: int = -1
    """Last probed step at which it was not so yet; -1 if there is none."""
    by: int = -1
    """First probed step at which it was so; of `rewound` the step to which the training went back."""
    value: float = NAN
    """Share of right prompts or mass, at the step of the confirmation."""
    layer: int = -1
    """Of the head; -1 where there is none."""
    head: int = -1
    text: str = ""
    """A sentence for people."""


@dataclass(frozen=True)
class ProbeBatch:
    """The sequences on which patterns are read, the same at every probe."""

    names: tuple[str, ...]
    """[pattern]"""
    chance: NDArray[np.float64]
    """[pattern] the mass of uniform causal attention."""
    tokens: NDArray[np.int64]
    """[sequence, position]"""
    masks: NDArray[np.bool_]
    """[pattern, query, key] of the first sequence."""
    texts: tuple[str, ...] = ()
    """[position] the tokens of the first sequence as text; empty where they are not known."""


@dataclass(frozen=True)
class MonitorRecords:
    """Everything that a monitor recorded, finished or not."""

    path: Path
    spec: MonitorSpec
    rows: tuple[Row, ...]
    """By step, increasing; without those that were taken back by a rewound training."""
    events: tuple[Event, ...]
    probe: ProbeBatch | None
    """None where no patterns are read."""
    summary: Mapping[str, Any] | None
    """Versions and machine; None while the monitor is not closed."""
    rule: Rule
    """The rule for capabilities."""
    sharp: Rule
    """The rule for patterns."""

    @property
    def finished(self) -> bool:
        """Whether the monitor was closed."""
        return self.summary is not None

    @property
    def steps(self) -> NDArray[np.int64]:
        """[probe] increasing."""
        return np.array([row.step for row in self.rows], dtype=np.int64)

    @property
    def losses(self) -> NDArray[np.float64]:
        """[probe] NaN where none was given."""
        return np.array([NAN if row.loss is None else row.loss for row in self.rows])

    @property
    def overhead(self) -> float:
        """Seconds of probes for each second of training; NaN before any training."""
        last = self.rows[-1] if self.rows else None
        return last.spent / last.training if last is not None and last.training > 0.0 else NAN

    @cached_property
    def masses(self) -> NDArray[np.float64]:
        """[probe, layer, head, pattern] NaN where patterns were not read; [probe, 0, 0, pattern] if they never were.

        Of a model that has grown or shrunk it has all layers and heads that there ever were, NaN while they were not.
        """
        read = [row.masses.shape for row in self.rows if row.masses is not None]
        shape = np.max(read, axis=0) if read else (0, 0, len(self.spec.patterns))
        masses = np.full((len(self.rows), *shape), NAN)
        for place, row in enumerate(self.rows):
            if row.masses is not None:
                layers, heads, _ = row.masses.shape
                masses[place, :layers, :heads] = row.masses
        return masses

    @cached_property
    def curves(self) -> Curves:
        """The share of right prompts of each capability; chance is not known, the ceiling is 1."""
        values = {
            name: np.array([row.shares.get(name, NAN) for row in self.rows], dtype=np.float64)
            for name in self.spec.capabilities
        }
        curves = tuple(curve for name, each in values.items() if (curve := self._draw(name, each, ceiling=1.0)))
        return Curves(curves, "share of right prompts", self.rule, notes=self.notes)

    @property
    def loss_curves(self) -> Curves:
        """The mean of the losses that were given between two probes, one curve or none."""
        curve = self._draw("loss", self.losses)
        return Curves((curve,) if curve else (), "training loss", self.rule)

    def scalar_curves(self, name: str) -> Curves:
        """One of the user's own numbers, one curve or none."""
        curve = self._draw(name, np.array([row.scalars.get(name, NAN) for row in self.rows], dtype=np.float64))
        return Curves((curve,) if curve else (), "value", self.rule)

    @cached_property
    def strongest(self) -> Curves:
        """The largest mass of any head on each pattern, between chance and 1."""
        best = np.full((len(self.rows), len(self.spec.patterns)), NAN)  # [probe, pattern]
        for place, row in enumerate(self.rows):
            if row.masses is not None:
                best[place] = row.masses.max((0, 1), initial=-np.inf)  # infinite of no heads
        curves = tuple(
            curve
            for place, name in enumerate(self.spec.patterns)
            if (curve := self._draw(name, best[:, place], self._chance(place), 1.0))
        )
        return Curves(curves, "mass of the strongest head", self.sharp)

    def heads(self, pattern: str) -> Curves:
        """The mass of every head on one pattern; units are heads, such as `layer 1 head 3`."""
        place = self.spec.patterns.index(pattern)
        curves = tuple(
            curve
            for layer, head in np.ndindex(self.masses.shape[1:3])
            if (
                curve := self._draw(
                    name_head(layer, head), self.masses[:, layer, head, place], self._chance(place), 1.0
                )
            )
        )
        return Curves(curves, f"mass on {pattern}", self.sharp)

    def find_curves(self, unit: str | None) -> Curves:
        """The curves among which a unit is: patterns, or capabilities, which are those that are meant without a unit.

        Raises:
            SaltusError: if nothing was measured.

        """
        curves = self.strongest if unit in self.spec.patterns or not self.spec.capabilities else self.curves
        if not len(curves):
            raise SaltusError(f"{self.path} has no probe that measured anything; let the training go on")
        return curves

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know, as sentences."""
        parts = dict.fromkeys(part for row in self.rows for part in row.failed)
        counts = {part: sum(part in row.failed for row in self.rows) for part in parts}
        said = {part: next(row.failed[part] for row in self.rows if part in row.failed) for part in parts}
        return tuple(
            f"{part} could not be measured in {counts[part]} of {len(self.rows)} probes, first because: {said[part]}"
            for part in parts
        )

    def reread(self, rule: Rule) -> "MonitorRecords":
        """The same records, capabilities read by another rule, and patterns with its hold."""
        return replace(self, rule=rule, sharp=self.sharp.change(hold=rule.hold))

    def _chance(self, pattern: int) -> float:
        return NAN if self.probe is None else float(self.probe.chance[pattern])

    def _draw(self, unit: str, values: NDArray[np.float64], chance: float = NAN, ceiling: float = NAN) -> Curve | None:
        """The curve of [probe] values without those that failed, whose steps are missing; None if all of them did."""
        known = np.isfinite(values)
        if not known.any():
            return None
        missing = tuple(int(step) for step in self.steps[~known])
        key = Key(self.spec.group, self.spec.seed, unit)
        return Curve(key, self.steps[known], values[known], missing, chance, ceiling)


def state_rule(spec: MonitorSpec) -> Rule:
    """The rule for capabilities that a description states."""
    return Rule(above=spec.threshold, hold=spec.hold)


def state_sharp(spec: MonitorSpec) -> Rule:
    """The rule for patterns that a description states."""
    return Rule(above=spec.sharp, share=True, hold=spec.hold)


def name_head(layer: int, head: int) -> str:
    """As a unit of curves; both count from 0."""
    return f"layer {layer} head {head}"


def keep_rows(lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows that stand, by step, increasing: none from the step of a later rewind on."""
    rows: list[Row] = []
    for line in lines:
        row = None if "rewound_to" in line else parse_row(line)
        start = int(line["rewound_to"]) if row is None else row.step
        while rows and rows[-1].step >= start:
            rows.pop()
        if row is not None:
            rows.append(row)
    return rows


def keep_events(lines: Sequence[Mapping[str, Any]]) -> list[Event]:
    """The events that stand: none of a step that was taken back by a later rewind, which stands itself."""
    events: list[Event] = []
    for line in lines:
        event = parse_event(line)
        if event.kind == "rewound":
            events = [each for each in events if each.step < event.by or each.kind == "rewound"]
        events.append(event)
    return events


def format_row(row: Row) -> dict[str, Any]:
    """A row as JSON: numbers of six digits, null for what is not finite."""
    empty: tuple[object, ...] = (None, {})
    values = {key: _simplify(value) for key, value in vars(row).items()}
    return {key: value for key, value in values.items() if value not in empty}


def format_event(event: Event) -> dict[str, Any]:
    """An event as JSON, without what is not known."""
    values = {key: _simplify(value) for key, value in vars(event).items()}
    return {key: value for key, value in values.items() if value not in (None, "", -1) or key == "step"}


def parse_row(line: Mapping[str, Any]) -> Row:
    """The opposite of `format_row`."""
    arrays = {key: np.array(line[key], dtype=np.float64) for key in _AXES if key in line}
    if wrong := [key for key, array in arrays.items() if array.ndim != _AXES[key]]:
        raise ValueError(f"{wrong[0]} has another number of axes than {_AXES[wrong[0]]}")
    numbers: dict[str, Any] = {key: float(line[key]) for key in ("training", "spent") if key in line}
    numbers["loss"] = None if line.get("loss") is None else float(line["loss"])
    numbers |= {
        key: {name: NAN if value is None else float(value) for name, value in line[key].items()}
        for key in ("shares", "probabilities", "scalars")
        if key in line
    }
    values: dict[str, Any] = {**line, **arrays, **numbers, "step": int(line["step"])}
    return Row(**values)


def parse_event(line: Mapping[str, Any]) -> Event:
    """The opposite of `format_event`."""
    numbers: dict[str, Any] = {key: int(line[key]) for key in ("step", "after", "by", "layer", "head") if key in line}
    numbers |= {"value": float(line["value"])} if "value" in line else {}
    texts: dict[str, Any] = {key: str(line[key]) for key in ("kind", "unit", "text") if key in line}
    values: dict[str, Any] = {**line, **numbers, **texts}
    return Event(**values)


_AXES = {"masses": 3, "entropy": 2}


def _simplify(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _simplify(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return [_simplify(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.integer) else value
