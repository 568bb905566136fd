"""Which checkpoints to measure next, from what was measured so far; nothing is remembered between two questions.

A strategy is given the steps that a run lists, those known to be missing, and for each measured step which units were
solved. It answers with the steps to measure next, in order; with none when it is done. It never asks for a step that is
measured or missing: where a missing one was due, the nearest that is usable takes its place, and the interval that can
be found is so much wider.

Answers depend on the arguments alone. Whoever asks again after each measurement and takes the first answer is led
along one path, wherever it was interrupted.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from saltus.specs.checkpoints import ScanSpec

Solved = Mapping[int, NDArray[np.bool_]]
"""By measured step, [unit]: whether each unit was solved there."""

NEIGHBOURS = {"sets": 1, "prompts": 2}
"""Checkpoints on each side of a jump that the robust strategy looks at as well, by what is followed. A single prompt is
right by luck more often than a set of them is."""


def next_steps(spec: ScanSpec, steps: Sequence[int], missing: Collection[int], measured: Solved) -> list[int]:
    """What the strategy of `spec` measures next; the last units are the sets, one for each capability."""
    if spec.follow == "sets":
        measured = {step: solved[-len(spec.capabilities) :] for step, solved in measured.items()}
    match spec.strategy:
        case "grid":
            return grid(steps, missing, measured)
        case "bisect":
            return bisect(steps, missing, measured)
        case "robust":
            return robust(steps, missing, measured, spec.coarse, NEIGHBOURS[spec.follow])


def grid(steps: Sequence[int], missing: Collection[int], measured: Solved) -> list[int]:
    """Every checkpoint."""
    return [step for step in steps if step not in missing and step not in measured]


def bisect(steps: Sequence[int], missing: Collection[int], measured: Solved) -> list[int]:
    """Binary search over the index of the checkpoints, for each unit (arXiv 2606.25010).

    Both ends come first. It takes for granted that what is solved stays solved: a unit that the last checkpoint does
    not solve counts as never solved, and is not looked for.
    """
    usable = [step for step in steps if step not in missing]
    if ends := [step for step in dict.fromkeys([*usable[:1], *usable[-1:]]) if step not in measured]:
        return ends
    if not usable:
        return []
    places, solved = _arrange(usable, measured)
    return _halve(usable, places, [int(unit.argmax()) - 1 for unit in solved.T if unit[-1] and not unit[0]])


def robust(steps: Sequence[int], missing: Collection[int], measured: Solved, coarse: int, neighbours: int) -> list[int]:
    """A coarse grid, then bisection of each unit's first gain and of its first loss after it, then their neighbourhood.

    The grid has `coarse` checkpoints, evenly over the index, both ends among them. A capability that comes and goes
    between two of them is not seen. Around each first gain `neighbours` more are measured on both sides; what they
    show may begin a new bisection.
    """
    usable = [step for step in steps if step not in missing]
    if not usable:
        return []
    if due := [step for step in _lay_grid(steps, usable, coarse) if step not in measured]:
        return due
    places, solved = _arrange(usable, measured)
    gains: list[int] = []
    losses: list[int] = []
    for unit in solved.T:
        there = int(unit.argmax())  # 0 as well where it is nowhere
        if there:
            gains.append(there - 1)
        if unit[there] and not unit[there:].all():
            losses.append(there + int(unit[there:].argmin()) - 1)
    return _halve(usable, places, [*gains, *losses]) or _look_around(usable, places, gains, neighbours)


def _lay_grid(steps: Sequence[int], usable: Sequence[int], coarse: int) -> list[int]:
    """Usable steps at, or nearest to, `coarse` places evenly over the index of all steps."""
    index = {step: place for place, step in enumerate(steps)}
    where = np.array([index[step] for step in usable])
    wanted = np.linspace(0, len(steps) - 1, min(coarse, len(steps))).round()
    return list(dict.fromkeys(usable[int(np.abs(where - place).argmin())] for place in wanted))


def _arrange(usable: Sequence[int], measured: Solved) -> tuple[list[int], NDArray[np.bool_]]:
    """Where in `usable` the measured steps are, increasing, and what they solved, [measured, unit]."""
    places = [place for place, step in enumerate(usable) if step in measured]
    return places, np.array([measured[usable[place]] for place in places])


def _halve(usable: Sequence[int], places: Sequence[int], changes: Iterable[int]) -> list[int]:
    """The middles of the gaps after the measurements numbered `changes`, the widest gap first."""
    gaps = [(places[change], places[change + 1]) for change in set(changes)]
    gaps.sort(key=lambda gap: (gap[0] - gap[1], gap[0]))
    return [usable[(left + right) // 2] for left, right in gaps if right - left > 1]


def _look_around(usable: Sequence[int], places: Sequence[int], gains: Iterable[int], neighbours: int) -> list[int]:
    """Checkpoints near the gains that are not measured yet."""
    near = {
        place
        for gain in gains
        for place in range(places[gain] - neighbours, places[gain + 1] + neighbours + 1)
        if 0 <= place < len(usable)
    }
    return [usable[place] for place in sorted(near.difference(places))]
