"""What the tensors of a run's checkpoints tell, one by one: in a file of two steps some of them are off the path."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from saltus.lm.audit.fingerprint import Fingerprint, TensorPrint, measure_distance
from saltus.lm.suites.base import Run

Checkpoint = tuple[Run, int]
Prints = Mapping[int, Fingerprint]

_STRAY = 2.0
_JUMP = 4.0
_MATERIAL = 0.01  # of the norm


@dataclass(frozen=True)
class OddTensors:
    """Matrices of one checkpoint that are not on their run's path, while others are."""

    step: int
    names: tuple[str, ...]
    of: int
    """How many matrices the checkpoint has."""
    ratio: float
    """The largest of their statistics, see `find_odd_tensors`."""
    other: Checkpoint | None
    """A checkpoint that has the same values in most of them; None if none has."""


def find_odd_tensors(run: Run, path: Sequence[int], prints: Mapping[Run, Prints]) -> Iterator[OddTensors]:
    """The checkpoints of a run in which some matrices are off their path, and not all of them.

    `path` are the usable steps of the run, increasing. Neighbours with the same values count as one. A matrix is off
    its path where it is more than twice as far from both neighbours as these are from each other; at an end of the run,
    where it moved more than four times as fast as in the interval beside it, by the square root of steps; and where it
    has the values of another step, with others in between, and is farther off than it is there.
    """
    of_run = {step: {one.name: one for one in prints[run][step].tensors if one.axes > 1} for step in path}
    odd: dict[int, dict[str, float]] = defaultdict(dict)
    for name in dict.fromkeys(name for tensors in of_run.values() for name in tensors):
        there = [(step, of_run[step][name]) for step in path if name in of_run[step]]
        groups = [list(group) for _, group in groupby(there, key=lambda item: item[1].digest)]
        for step, ratio in _judge(groups):
            odd[step][name] = ratio
    owners = _list_owners(prints)
    for step in sorted(step for step, names in odd.items() if len(names) < len(of_run[step])):
        names = tuple(odd[step])
        others = Counter(
            owner
            for name in names
            for owner in owners[name, of_run[step][name].digest]
            if prints[owner[0]][owner[1]].sha256 != prints[run][step].sha256
            and not (owner[0] == run and name in odd.get(owner[1], ()))
        )
        other = max(others, key=lambda owner: (others[owner], owner[0] == run, owner[1]), default=None)
        yield OddTensors(step, names, len(of_run[step]), max(odd[step].values()), other)


_Group = list[tuple[int, TensorPrint]]
"""A matrix at neighbouring steps with the same values."""


def _judge(groups: Sequence[_Group]) -> Iterator[tuple[int, float]]:
    """The steps at which one matrix is off its path, with the statistic."""
    measured = [_measure(groups, number) for number in range(len(groups))]
    allowed = [_STRAY if 0 < number < len(groups) - 1 else _JUMP for number in range(len(groups))]
    excess = [ratio / limit for ratio, limit in zip(measured, allowed, strict=True)]
    of_values: dict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        of_values[group[0][1].digest].append(number)
    for number, group in enumerate(groups):
        same = of_values[group[0][1].digest]
        repeated = len(same) > 1 and measured[number] > 0.0 and number != min(same, key=lambda other: excess[other])
        interior = 0 < number < len(groups) - 1
        if repeated or (interior and excess[number] > 1.0):
            yield from ((step, measured[number]) for step, _ in group)


def _measure(groups: Sequence[_Group], number: int) -> float:
    """How far the values of a group are off the path of their neighbours; 0 where it is less than 1% of the norm."""
    here = groups[number][0][1]
    before = groups[number - 1][-1] if number else None
    after = groups[number + 1][0] if number + 1 < len(groups) else None
    if before is not None and after is not None:
        away, scale = min(measure_distance(before[1], here), measure_distance(here, after[1])), 1.0
        usual = measure_distance(before[1], after[1])
    elif len(groups) > 2:
        beside, inner = (groups[1][0], groups[2][0]) if before is None else (groups[-2][-1], groups[-3][-1])
        end = groups[number][-1 if before is None else 0][0]
        away, scale = measure_distance(here, beside[1]), abs(beside[0] - end) ** 0.5
        usual = measure_distance(beside[1], inner[1]) / abs(beside[0] - inner[0]) ** 0.5
    else:
        return 0.0
    return away / scale / max(usual, 1e-300) if away > _MATERIAL * here.norm else 0.0


def _list_owners(prints: Mapping[Run, Prints]) -> dict[tuple[str, str], list[Checkpoint]]:
    """By name and hash of a tensor, the checkpoints that have it."""
    owners: dict[tuple[str, str], list[Checkpoint]] = defaultdict(list)
    for run, of_run in prints.items():
        for step in sorted(of_run):
            for one in of_run[step].tensors:
                owners[one.name, one.digest].append((run, step))
    return owners
