"""What a scan measured, arranged as its figures want it: by capability, then by size and seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from saltus.curves import Curves, Emergence
from saltus.lm.scanning.records import Question, ScanRecords
from saltus.measure.groups import GroupSummary, summarise_groups
from saltus.measure.rises import Rises, summarise_rises
from saltus.seeding import Streams
from saltus.specs.capabilities import TextSpec
from saltus.specs.criteria import CriterionSpec


@dataclass(frozen=True)
class PromptText:
    """One prompt as a person reads it."""

    number: int
    unit: str
    """Its name as a unit of curves."""
    text: str
    target: str


@dataclass(frozen=True)
class CapabilitySummary:
    """One capability over all runs."""

    name: str
    criterion: CriterionSpec
    """When a prompt is right."""
    prompts: tuple[PromptText, ...]
    sets: tuple[Emergence, ...]
    """When the set of prompts emerged, [measured run]."""
    categories: tuple[Emergence, ...]
    """When the sets of its categories emerged, by category and run."""
    parts: tuple[Emergence, ...]
    """When single prompts emerged, by run."""
    groups: tuple[GroupSummary, ...]
    """[size] of the set."""
    probability: Curves
    """Of the target, mean over the prompts."""
    margin: Curves
    """In nats, mean over the prompts with a foil; NaN without any. Of a text the fall of the loss within a passage."""
    is_text: bool

    @property
    def emerged(self) -> int:
        """Runs in which it did."""
        return sum(group.emerged for group in self.groups)


@dataclass(frozen=True)
class ScanSummary:
    """What a scan measured."""

    suite: str
    finished: bool
    sizes: tuple[str, ...]
    capabilities: tuple[CapabilitySummary, ...]
    end: int
    """The last step that any run lists."""
    runs: int
    listed: int
    """Checkpoints that the suite lists."""
    measured: int
    """Checkpoints that were measured."""


@dataclass(frozen=True)
class MissingCheckpoint:
    """A checkpoint that was asked for and could not be measured."""

    size: str
    seed: str
    step: int
    reason: str
    widened: str
    """The units whose interval it lies in, such as `copying and 3 prompts of it`; empty if there is none."""


def summarise_scan(records: ScanRecords) -> ScanSummary:
    """When each capability emerged, and how its target's probability went."""
    found: dict[str, list[Emergence]] = {question.unit: [] for question in records.questions}
    for emergence in records.find_emergences():
        found[emergence.key.unit].append(emergence)
    prompts, generator = records.prompts.to_pylist(), Streams(0).generator("bootstrap")

    def summarise(name: str) -> CapabilitySummary:
        texts = [
            PromptText(row["prompt"], Question(name, row["prompt"]).unit, row["text"], row["target"])
            for row in prompts
            if row["capability"] == name
        ]
        sets = found[Question(name).unit]
        return CapabilitySummary(
            name=name,
            criterion=records.criterion(name),
            prompts=tuple(texts),
            sets=tuple(sets),
            categories=tuple(e for question in records.list_sets(name)[:-1] for e in found[question.unit]),
            parts=tuple(emergence for text in texts for emergence in found[text.unit]),
            groups=tuple(summarise_groups(sets, records.seeds, records.end, generator)),
            probability=records.curves_of("probability", name),
            margin=records.curves_of("margin", name),
            is_text=any(isinstance(each, TextSpec) and each.name == name for each in records.spec.capabilities),
        )

    listed = records.runs["steps"].to_pylist()
    return ScanSummary(
        suite=records.spec.suite,
        finished=records.finished,
        sizes=tuple(records.seeds),
        capabilities=tuple(map(summarise, records.capabilities)),
        end=records.end,
        runs=len(listed),
        listed=sum(map(len, listed)),
        measured=len(records.probes.group_by(["size", "seed", "step"]).aggregate([])),
    )


def find_rises(records: ScanRecords) -> Rises | None:
    """How abruptly the shares of right prompts of sets rose that emerged, beside the probability of the target."""
    sets = tuple(curve for name in records.capabilities for curve in records.curves.select(unit=Question(name).unit))
    means = tuple(curve for name in records.capabilities for curve in records.curves_of("probability", name))
    smooth = Curves(means, "probability of the target", records.rule)
    return summarise_rises(replace(records.curves, curves=sets), records.curves.emergences(), smooth)


def of_size(found: Sequence[Emergence], size: str) -> list[Emergence]:
    """Those of one size."""
    return [emergence for emergence in found if emergence.key.group == size]


def list_missing(records: ScanRecords) -> list[MissingCheckpoint]:
    """Each with the units that it leaves less certain."""
    questions = {question.unit: question for question in records.questions}
    widened: dict[tuple[str, str, int], list[Question]] = {}
    for emergence in records.find_emergences():
        for step in emergence.missing:
            widened.setdefault((*emergence.key[:2], step), []).append(questions[emergence.key.unit])
    return [
        MissingCheckpoint(**row, widened=_name_widened(widened.get((row["size"], row["seed"], row["step"]), [])))
        for row in records.missing.select(["size", "seed", "step", "reason"]).to_pylist()
    ]


def _name_widened(questions: Sequence[Question]) -> str:
    parts: list[str] = []
    for name in dict.fromkeys(question.capability for question in questions):
        prompts = sum(question.capability == name and question.prompt is not None for question in questions)
        some = f"{prompts} prompt{'' if prompts == 1 else 's'}" if prompts else ""
        if Question(name) in questions:
            parts.append(f"{name} and {some} of it" if some else name)
        elif some:
            parts.append(f"{some} of {name}")
        parts += [question.unit for question in questions if question.capability == name and question.category]
    return "; ".join(parts)
