"""What a scan recorded: tables, and the curves of every prompt and capability.

Probabilities are of the whole target; ranks count from 0, and ties in full.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.curves import Curve, Curves, Emergences, Key, Rule, find_emergence
from saltus.errors import SaltusError
from saltus.lm.scanning.criteria import pass_scores, score_answers
from saltus.lm.scanning.rows import ProbeRows
from saltus.specs.checkpoints import ScanSpec
from saltus.specs.criteria import CriterionSpec

MissingKind = Literal["fault", "unreachable", "excluded"]
"""Why a checkpoint says nothing: it is not there or cannot be measured; it is elsewhere, and nothing was to be fetched;
an audit, or what is known of the suite, says that it is not what it seems."""

LATER = {"missing": ("kind", "bytes", "modified"), "runs": ("tokens",), "prompts": ("id", "category")}
"""By table, columns that former versions did not write."""

_CHECKPOINT = [("size", pa.string()), ("seed", pa.string()), ("step", pa.int32())]

SCAN_TABLES: dict[str, pa.Schema] = {
    # One row for each measured checkpoint, capability and prompt.
    "probes": pa.schema(
        [
            *_CHECKPOINT,
            ("capability", pa.string()),
            ("prompt", pa.int32()),
            ("probability", pa.float64()),  # product over the target's tokens; of passages of text the geometric mean
            ("logit", pa.float64()),  # mean over the target's tokens
            ("rank", pa.int32()),  # other tokens with at least its logit, of the worst of the target's tokens
            ("correct", pa.bool_()),  # every token of the target has the largest logit, and no other token has it too
            # log probability of the target less that of the best foil, in nats; NaN without foil; of passages of text
            # the mean loss early in it less that late in it
            ("margin", pa.float64()),
        ]
    ),
    # One row for each measured checkpoint: what its files were. Version 0.1 did not record it.
    "checkpoints": pa.schema(
        [
            *_CHECKPOINT,
            ("bytes", pa.int64()),
            ("modified", pa.int64()),  # of the last changes, as in a `Stamp`
            ("sha256", pa.string()),
            ("note", pa.string()),  # what was mended when it was loaded, and does no harm
        ]
    ),
    # One row for each measured checkpoint, head and known pattern, where patterns were asked for; rows without a layer
    # say why a checkpoint has none.
    "patterns": pa.schema(
        [
            *_CHECKPOINT,
            ("pattern", pa.string()),
            ("layer", pa.int32()),  # from 0; null, as the next three, where attention could not be read
            ("head", pa.int32()),  # from 0
            ("mass", pa.float64()),  # of the head's attention on the pattern's keys, mean over queries that have some
            ("chance", pa.float64()),  # the mass of uniform attention
            ("reason", pa.string()),  # why it could not be read; null where it was
        ]
    ),
    # One row for each checkpoint that was asked for and could not be measured, or is not to be used.
    "missing": pa.schema(
        [
            *_CHECKPOINT,
            ("reason", pa.string()),
            ("kind", pa.string()),  # one of `MissingKind`; null, as the next two, where version 0.1 wrote it
            ("bytes", pa.int64()),  # of its files when it was asked for; null where there were none
            ("modified", pa.int64()),  # of their last changes, as in a `Stamp`
        ]
    ),
    # One row for each capability and prompt.
    "prompts": pa.schema(
        [
            ("capability", pa.string()),
            ("prompt", pa.int32()),
            ("text", pa.string()),
            ("target", pa.string()),
            ("id", pa.string()),  # the user's own name of it; null where there is none
            ("category", pa.string()),  # the part of the capability that it belongs to; null where there are none
        ]
    ),
    # One row for each run: the steps that the suite lists, with or without a usable checkpoint.
    "runs": pa.schema(
        [
            ("size", pa.string()),
            ("seed", pa.string()),
            ("steps", pa.list_(pa.int32())),
            ("tokens", pa.list_(pa.int64())),  # seen at each of these steps; null where that is not known
        ]
    ),
}


_PROMPT_HOLD = 2
"""Measured checkpoints in a row at which a single prompt has to be right."""

SHARP = 0.5
"""Share of the way from chance to all of its attention with which a head has a known pattern."""


class Question(NamedTuple):
    """What a unit of a scan is: one prompt, or the set of a capability's prompts, or of those of a category."""

    capability: str
    prompt: int | None = None
    """None for a set, which is there where the share of right prompts reaches the threshold."""
    category: str | None = None
    """None for the set of all prompts."""

    @property
    def unit(self) -> str:
        """Its name as a unit of curves."""
        if self.prompt is not None:
            return f"{self.capability}, prompt {self.prompt}"
        return self.capability if self.category is None else f"{self.capability}, {self.category}"


@dataclass(frozen=True)
class ScanRecords:
    """Everything that a scan recorded, finished or not."""

    path: Path
    spec: ScanSpec
    probes: pa.Table
    missing: pa.Table
    prompts: pa.Table
    runs: pa.Table
    summary: Mapping[str, Any] | None
    """Versions, machine, duration; None while the scan is not finished."""
    rule: Rule
    """The rule by which the curves are read: one success is enough, unless another rule was asked for."""
    checkpoints: pa.Table = field(default_factory=SCAN_TABLES["checkpoints"].empty_table)
    patterns: pa.Table = field(default_factory=SCAN_TABLES["patterns"].empty_table)

    @property
    def finished(self) -> bool:
        """Whether the scan is done."""
        return self.summary is not None

    @property
    def capabilities(self) -> list[str]:
        """Names of the capabilities, in their order."""
        return list(dict.fromkeys(self.prompts["capability"].to_pylist()))

    @property
    def questions(self) -> list[Question]:
        """Each capability's prompts, then the sets of its categories, then its set."""
        prompts = self.prompts.select(["capability", "prompt"]).to_pylist()
        return [
            question
            for name in self.capabilities
            for question in (
                *(Question(name, prompt["prompt"]) for prompt in prompts if prompt["capability"] == name),
                *self.list_sets(name),
            )
        ]

    def list_sets(self, capability: str) -> list[Question]:
        """The sets of a capability's categories, then the set of all its prompts."""
        rows = self.prompts.select(["capability", "category"]).to_pylist()
        own = dict.fromkeys(row["category"] for row in rows if row["capability"] == capability and row["category"])
        return [*(Question(capability, category=each) for each in own), Question(capability)]

    def list_members(self, of_set: Question) -> list[str]:
        """The units of the prompts of a set."""
        rows = self.prompts.select(["capability", "prompt", "category"]).to_pylist()
        return [
            Question(row["capability"], row["prompt"]).unit
            for row in rows
            if row["capability"] == of_set.capability and of_set.category in (None, row["category"])
        ]

    @property
    def seeds(self) -> dict[str, int]:
        """By size, in the order of the suite: how many seeds it has, measured or not."""
        sizes: list[str] = self.runs["size"].to_pylist()
        return {size: sizes.count(size) for size in dict.fromkeys(sizes)}

    @cached_property
    def tokens(self) -> dict[tuple[str, str, int], int]:
        """Tokens that a run had seen, by size, seed and step, where the suite says so."""
        return {
            (run["size"], run["seed"], step): tokens
            for run in self.runs.to_pylist()
            for step, tokens in zip(run["steps"], run["tokens"] or (), strict=False)
            if tokens is not None
        }

    @property
    def end(self) -> int:
        """The last step that any run lists."""
        return max((step for steps in self.runs["steps"].to_pylist() for step in steps), default=0)

    @cached_property
    def curves(self) -> Curves:
        """Share of right prompts of every set, and 1 or 0 for each prompt, by run; a group is a size.

        Right is what the criterion of a capability says; by a loss its set is 1 or 0 too. Runs without a measured
        checkpoint are left out.
        """
        return Curves(tuple(self._judge()), self._name_measure(), self.rule, notes=self.notes)

    def select_unit(self, unit: str | None) -> "ScanRecords":
        """The rows of the capability whose set or prompt a unit is; all of them where it is none."""
        own = next((question.capability for question in self.questions if question.unit == unit), None)
        return self if own is None else self.select([own], [])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was mended when checkpoints were loaded, as sentences, each with the number of checkpoints."""
        several = Counter(note for note in self.checkpoints["note"].to_pylist() if note)
        several.update(f"attention could not be read: {why}" for why in self.patterns["reason"].to_pylist() if why)
        return tuple(f"in {count} of {len(self.checkpoints)} checkpoints {note}" for note, count in several.items())

    def curves_of(self, column: str, capability: str, category: str | None = None) -> Curves:
        """The mean of a column of the probes over the prompts of a capability, by run; NaN is left out of a mean.

        Of the prompts of a category alone where one is given.
        """
        values = self.probes[column].to_numpy(zero_copy_only=False).astype(np.float64)
        asked = [Question(capability, category=category)]
        return Curves(tuple(self._list_curves(values, asked)), f"mean {column}", self.rule)

    @cached_property
    def strongest(self) -> Curves:
        """The largest mass of any head on each known pattern, by run; units are patterns, and a group is a size."""
        read = self.patterns.filter(self.patterns["layer"].is_valid())
        best = read.group_by(["size", "seed", "pattern", "step"]).aggregate([("mass", "max"), ("chance", "min")])
        values = {
            (row["size"], row["seed"], row["pattern"], row["step"]): (row["mass_max"], row["chance_min"])
            for row in best.to_pylist()
        }
        found: list[Curve] = []
        for run in self.runs.select(["size", "seed"]).to_pylist():
            for pattern in self.spec.patterns:
                keys = sorted(key for key in values if key[:3] == (run["size"], run["seed"], pattern))
                if keys:
                    steps = np.array([key[3] for key in keys], dtype=np.int64)
                    mass = np.array([values[key][0] for key in keys])
                    missing = self._list_missing(run["size"], run["seed"])
                    chance = values[keys[0]][1]
                    found.append(Curve(Key(run["size"], run["seed"], pattern), steps, mass, missing, chance, 1.0))
        return Curves(tuple(found), "mass of the strongest head", Rule(above=SHARP, share=True, hold=self.rule.hold))

    def find_emergences(self) -> Emergences:
        """When sets emerged, by the rule; of single prompts, which are right by luck, a hold of 2 at least is asked."""
        held = self.rule.change(hold=max(_PROMPT_HOLD, self.rule.hold))
        sets = {question.unit for question in self.questions if question.prompt is None}
        found = (find_emergence(curve, self.rule if curve.key.unit in sets else held) for curve in self.curves)
        return Emergences(tuple(found), self.rule, self.curves.measure)

    def select(self, capabilities: Sequence[str], sizes: Sequence[str]) -> "ScanRecords":
        """The rows of these capabilities and sizes; none named takes all.

        Raises:
            SaltusError: if the scan has no such capability or size.

        """
        chosen = self
        for column, wanted, there in (("capability", capabilities, self.capabilities), ("size", sizes, self.seeds)):
            if unknown := [name for name in wanted if name not in there]:
                raise SaltusError(f"{column}: {unknown[0]!r} is not in this scan; there are {', '.join(there)}")
            tables = {name: getattr(chosen, name) for name in SCAN_TABLES}
            kept = {
                name: table.filter(pa.array([name in wanted for name in table[column].to_pylist()], pa.bool_()))
                for name, table in tables.items()
                if wanted and column in table.column_names
            }
            chosen = replace(chosen, **kept)
        return chosen

    def reread(self, rule: Rule) -> "ScanRecords":
        """The same records, read by another rule."""
        return replace(self, rule=rule)

    def criterion(self, capability: str) -> CriterionSpec:
        """When a prompt of a capability is right."""
        return self.spec.criterion_of.get(capability, CriterionSpec())

    def _name_measure(self) -> str:
        """A criterion that is not top-1 is named: by another one the same prompts come at other steps."""
        criteria = dict.fromkeys(self.criterion(name) for name in self.capabilities)
        if all(criterion.kind == "top-1" for criterion in criteria):
            return "share of right prompts"
        return f"share of right prompts (right where {', or where '.join(each.describe() for each in criteria)})"

    def _judge(self) -> list[Curve]:
        answers = to_arrays(self.probes)
        right = np.zeros(len(self.probes))
        averaged: list[Curve] = []
        for name in self.capabilities:
            own, criterion = answers["capability"] == name, self.criterion(name)
            scores = score_answers(criterion, {key: values[own] for key, values in answers.items()})
            right[own] = pass_scores(criterion, scores)
            if criterion.by_mean:
                mean = np.full(len(own), np.nan)
                mean[own] = scores
                curves = self._list_curves(mean, self.list_sets(name))
                averaged += [replace(c, values=pass_scores(criterion, c.values).astype(np.float64)) for c in curves]
        instead = {curve.key: curve for curve in averaged}
        return [instead.get(curve.key, curve) for curve in self._list_curves(right, self.questions)]

    def _list_curves(self, values: NDArray[np.float64], questions: list[Question]) -> list[Curve]:
        """The mean of `values`, a number for each row of the probes, of each question by run."""
        rows = ProbeRows(self.probes, self.prompts)
        steps = self.probes["step"].to_numpy().astype(np.int64)
        found: list[Curve] = []
        for run in self.runs.select(["size", "seed"]).to_pylist():
            own = rows.select_run(run["size"], run["seed"])
            missing = self._list_missing(run["size"], run["seed"])
            for question in questions if len(own) else ():
                asked = own.find(*question)
                measured, mean = _average(steps[asked], values[asked])
                found.append(Curve(Key(run["size"], run["seed"], question.unit), measured, mean, missing))
        return found

    def _list_missing(self, size: str, seed: str) -> tuple[int, ...]:
        rows = self.missing.to_pylist()
        return tuple(sorted(row["step"] for row in rows if (row["size"], row["seed"]) == (size, seed)))


def to_arrays(probes: pa.Table) -> dict[str, NDArray[Any]]:
    """The columns of answers, each [answer]."""
    return {name: probes[name].to_numpy(zero_copy_only=False) for name in probes.column_names}


def state_rule(spec: ScanSpec) -> Rule:
    """The rule that a scan's description states: a set is there at its share of right prompts, once."""
    return Rule(above=spec.threshold)


def _average(steps: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Different steps, increasing, and the mean of the values at each; NaN where all are."""
    distinct, place = np.unique(steps, return_inverse=True)
    known = ~np.isnan(values)
    count = np.bincount(place[known], minlength=len(distinct))
    total = np.bincount(place[known], weights=values[known], minlength=len(distinct))
    return distinct, np.divide(total, count, out=np.full(len(distinct), np.nan), where=count > 0)
