"""What fingerprints tell of a suite's checkpoints. Weights are not needed here.

The statistics are free of scale; d is the Euclidean distance of two checkpoints' weights:

missing         a step that the suite lists and that cannot be had, or cannot be read
identical       two checkpoints with the same bytes, or with the same weights in another precision
start           the run's first trained checkpoint, within the first 2% of its steps, has no correlation with its own
                step 0: the cosine of unrelated weights is 0 with a standard deviation of
                sqrt(1 / 4096 + 1 / parameters), and five of them are allowed
stray           a checkpoint off its run's path: min(d(before, it), d(it, after)) / d(before, after) is at most 1 for
                steady motion, for a random walk and for noise about a fixed point; more than 2 is a fault. So is a
                matrix of a checkpoint of which this is true, see `by_tensor`
mixed           the same, where another checkpoint has the same values in these matrices: a file of two steps
jump            neighbours whose d / sqrt(steps between) is more than 4 times that of the two intervals before and the
                two after, of which one may be a jump itself; or that are uncorrelated though these are correlated, and
                the later step is at most 4 times the earlier
configuration   a configuration, or names and shapes of tensors, unlike most of the run, or of the runs of that size
not_finite      weights that are infinite or not a number, in any tensor
known           what others have found, as far as saltus knows it

Distances below 1% of the weights' norm make no stray and no jump: rounding to half precision moves them by 0.1%.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from saltus.lm.audit.by_tensor import OddTensors, find_odd_tensors
from saltus.lm.audit.fingerprint import BUCKETS, Fingerprint, measure_cosine, measure_distance
from saltus.lm.suites.base import Run

Kind = Literal["missing", "identical", "start", "stray", "mixed", "jump", "configuration", "not_finite", "known"]
Severity = Literal["fault", "note"]
Prints = Mapping[int, Fingerprint]

_STRAY = 2.0
_JUMP = 4.0
_RELATED = 0.5  # a cosine that no unrelated weights have
_EARLY = 0.02  # of a run's steps
_SHORT = 4.0  # times the earlier step
_MATERIAL = 0.01  # of the norm


@dataclass(frozen=True)
class Finding:
    """Something that was found, at a checkpoint or a whole run."""

    run: Run
    step: int | None
    kind: Kind
    severity: Severity
    detail: str
    value: float | None = None
    other: tuple[Run, int] | None = None


def judge(prints: Mapping[Run, Prints]) -> list[Finding]:
    """Everything that fingerprints, by run and step, tell."""
    findings = [*_find_identical(prints), *_find_rounded(prints), *_find_configurations(prints)]
    unusable = {(finding.run, finding.step) for finding in findings if finding.severity == "fault"}
    for run, of_run in prints.items():
        for step, fingerprint in of_run.items():
            if fingerprint.not_finite:
                detail = f"{fingerprint.not_finite} weights are not finite{_name_not_finite(fingerprint)}"
                findings.append(Finding(run, step, "not_finite", "fault", detail, fingerprint.not_finite))
                unusable.add((run, step))
        hashes: set[str] = set()
        path: list[int] = []
        for step in sorted(of_run):
            if (run, step) not in unusable and of_run[step].sha256 not in hashes:
                path.append(step)
                hashes.add(of_run[step].sha256)
        findings += _follow_path(run, path, prints)
    return findings


def _find_identical(prints: Mapping[Run, Prints]) -> Iterator[Finding]:
    groups: dict[str, list[tuple[Run, int]]] = defaultdict(list)
    for run, of_run in prints.items():
        for step in sorted(of_run):
            groups[of_run[step].sha256].append((run, step))
    for group in groups.values():
        members = [sorted(step for run, step in group if run == member) for member, _ in group]
        starts = [sorted(prints[member])[: len(steps)] for (member, _), steps in zip(group, members, strict=True)]
        for run, step in group if len(group) > 1 else ():
            others = [other for other in group if other != (run, step)]
            other_run, other_step = min(others, key=lambda other: other[0] != run)
            detail = f"the weights are those of {other_run} step {other_step}"
            # Pythia's steps 0 and 1 are the same, since its warm-up begins at a rate of 0, and runs may begin with the
            # same weights. Elsewhere nobody knows whose the weights are.
            initial = step <= 1 and members == starts
            if initial and (run, step) == group[0]:
                continue
            if _goes_on(group, prints):  # the checkpoint of the run that it goes on from is as good as any
                if step == min(prints[run]):
                    detail += ", from which the run may go on"
                    yield Finding(run, step, "identical", "note", detail, other=(other_run, other_step))
                continue
            yield Finding(run, step, "identical", "note" if initial else "fault", detail, other=(other_run, other_step))


def _goes_on(group: Sequence[tuple[Run, int]], prints: Mapping[Run, Prints]) -> bool:
    """Whether one run has at its start, step 0 or 1, a later checkpoint of another run: it was trained further."""
    begun = [step <= 1 and step == min(prints[run]) for run, step in group]
    return len(group) == 2 and group[0][0] != group[1][0] and begun.count(True) == 1


def _find_rounded(prints: Mapping[Run, Prints]) -> Iterator[Finding]:
    """Checkpoints that have the weights of another one in another precision."""
    groups: dict[tuple[str, str], list[tuple[Run, int]]] = defaultdict(list)
    for run, of_run in prints.items():
        for step in sorted(of_run):
            for precision, digest in of_run[step].rounded.items():
                groups[precision, digest].append((run, step))
    told: set[tuple[Run, int]] = set()
    for group in groups.values():
        for run, step in group:
            dtypes = prints[run][step].dtypes
            others = [(r, s) for r, s in group if prints[r][s].dtypes != dtypes and (r, s) != (run, step)]
            if not others or (run, step) in told:
                continue
            told.add((run, step))
            other = min(others, key=lambda other: other[0] != run)
            detail = f"the weights are those of {other[0]} step {other[1]}, in {dtypes} and not in "
            detail += prints[other[0]][other[1]].dtypes
            initial = all(s <= 1 for _, s in group)  # as in `_find_identical`
            yield Finding(run, step, "identical", "note" if initial else "fault", detail, other=other)


def _name_not_finite(fingerprint: Fingerprint) -> str:
    names = [one.name for one in fingerprint.tensors if one.not_finite]
    more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
    return f", in {names[0]}{more}" if names else ""


def _find_configurations(prints: Mapping[Run, Prints]) -> Iterator[Finding]:
    usual: dict[Run, tuple[int, Fingerprint]] = {}
    for run, of_run in prints.items():
        if not of_run:
            continue
        usual[run] = _find_usual(of_run)
        for step in sorted(of_run):
            if different := _compare(of_run[step], usual[run][1]):
                detail = f"unlike most of the run in {different}"
                yield Finding(run, step, "configuration", "fault", detail, other=(run, usual[run][0]))
    for size in dict.fromkeys(run.size for run in usual):
        number = {index: run for index, run in enumerate(usual) if run.size == size}
        index, most = _find_usual({index: usual[run][1] for index, run in number.items()})
        for run in number.values():
            if different := _compare(usual[run][1], most):
                detail = f"unlike most runs of size {size} in {different}"
                yield Finding(
                    run, None, "configuration", "fault", detail, other=(number[index], usual[number[index]][0])
                )


def _find_usual(prints: Prints) -> tuple[int, Fingerprint]:
    """The first of those that have the most frequent configuration."""
    keys = {number: repr(sorted(fingerprint.config.items())) for number, fingerprint in sorted(prints.items())}
    most = Counter(keys.values()).most_common(1)[0][0]
    number = next(number for number, key in keys.items() if key == most)
    return number, prints[number]


def _compare(one: Fingerprint, other: Fingerprint) -> str:
    """The keys in which two configurations differ; empty if none."""
    keys = sorted(one.config.keys() | other.config.keys())
    return ", ".join(key for key in keys if one.config.get(key) != other.config.get(key))


def _follow_path(run: Run, path: list[int], prints: Mapping[Run, Prints]) -> list[Finding]:
    """What the distances between the checkpoints of a run, in the order of their steps, tell."""
    of_run = prints[run]
    findings: list[Finding] = []
    for odd in find_odd_tensors(run, path, prints):
        findings.append(_describe_odd(run, odd))
        path.remove(odd.step)
    strays = [
        (step, ratio)
        for (before, step), (_, after) in pairwise(pairwise(path))
        if (ratio := _measure_detour(of_run, before, step, after)) > _STRAY
    ]
    for step, ratio in strays:
        detail = f"the weights are {ratio:.1f} times as far from both neighbours as these are from each other"
        findings.append(Finding(run, step, "stray", "fault", detail, ratio))
        path.remove(step)
    if len(path) > 2 and path[0] == 0 and path[1] <= max(2.0, _EARLY * path[-1]):
        cosine = measure_cosine(of_run[0], of_run[path[1]])
        if abs(cosine) < _bound_unrelated(of_run[0]):
            findings += _describe_start(run, path[1], cosine, prints)
            path = path[1:]
    intervals = list(pairwise(path))
    rates = [_move(of_run, *interval) / (interval[1] - interval[0]) ** 0.5 for interval in intervals]
    cosines = [measure_cosine(of_run[before], of_run[step]) for before, step in intervals]
    for number, (before, step) in enumerate(intervals):
        around = [other for other in range(number - 2, number + 3) if other != number and 0 <= other < len(intervals)]
        if len(around) < 2 or _move(of_run, before, step) < _MATERIAL:
            continue
        spared = 1 if len(around) > 2 else 0  # two checkpoints astray make two jumps, one in the other's surroundings
        excess = rates[number] / max(1e-300, sorted(rates[other] for other in around)[-1 - spared])
        steady = sorted(cosines[other] for other in around)[spared] > _RELATED and step <= _SHORT * before
        if excess > _JUMP or (steady and cosines[number] < _bound_unrelated(of_run[step])):
            detail = (
                f"from step {before} the weights moved {excess:.1f} times as fast as in the intervals around, measured "
                f"by the square root of steps; their cosine is {cosines[number]:.2f}"
            )
            findings.append(Finding(run, step, "jump", "fault", detail, excess, (run, before)))
    return findings


def _describe_odd(run: Run, odd: OddTensors) -> Finding:
    what = f"{len(odd.names)} of {odd.of} matrices, such as {odd.names[0]}, are"
    if odd.other is not None:
        detail = f"{what} those of {odd.other[0]} step {odd.other[1]}"
        return Finding(run, odd.step, "mixed", "fault", detail, odd.ratio, odd.other)
    detail = f"{what} {odd.ratio:.1f} times as far from both neighbours as these are from each other"
    return Finding(run, odd.step, "stray", "fault", detail, odd.ratio)


def _move(of_run: Prints, before: int, step: int) -> float:
    """Distance between two checkpoints, in norms of the weights."""
    scale = max(of_run[before].norm, of_run[step].norm)
    return measure_distance(of_run[before], of_run[step]) / scale if scale else 0.0


def _describe_start(run: Run, first: int, cosine: float, prints: Mapping[Run, Prints]) -> Iterator[Finding]:
    """A run that does not continue from its step 0, and the run from whose step 0 it does, if that is known."""
    of_run = prints[run]
    detail = f"step {first} has a cosine of {cosine:.2f} with it: the run does not continue from here"
    own = next(
        (
            other
            for other in prints
            if other.size == run.size
            and 0 in prints[other]
            and other != run
            and measure_cosine(prints[other][0], of_run[first]) > _RELATED
        ),
        None,
    )
    if own is not None:
        detail += f" but from step 0 of {own}"
    for step in (0, 1):
        if step in of_run and of_run[step].sha256 == of_run[0].sha256:
            yield Finding(run, step, "start", "fault", detail, cosine, (run, first) if own is None else (own, 0))


def _measure_detour(of_run: Prints, before: int, step: int, after: int) -> float:
    """How much farther a checkpoint is from both neighbours than these are from each other."""
    away = min(_move(of_run, before, step), _move(of_run, step, after))
    return away / max(_move(of_run, before, after), 1e-300) if away > _MATERIAL else 0.0


def _bound_unrelated(fingerprint: Fingerprint) -> float:
    """Below this a cosine may be that of unrelated weights: five standard deviations."""
    return 5.0 * (1 / BUCKETS + 1 / max(1, fingerprint.parameters)) ** 0.5
