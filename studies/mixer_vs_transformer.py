"""MLP-Mixer against transformer on the linear map, each at its own best setting (S=16, s=3, 5, 7)."""

from collections.abc import Sequence

from saltus.measure.comparison import compare_emergences
from saltus.measure.interval_tests import adjust_holm
from saltus.paper.claims import ON_MIXERS
from saltus.paper.setting import LINEAR_MAP_MODEL, PAPER, linear_map
from saltus.paper.targets import read_targets, read_tolerance
from saltus.seeding import Streams
from saltus.specs import MlpMixerSpec
from saltus.studies.claims import Claim, Comparison, Verdict
from saltus.studies.contest import Contest, make_study
from saltus.studies.race import Race
from saltus.studies.ranking import SHOWN
from saltus.studies.results import Results

LEVEL = 0.45
"""The training loss, in nats, whose step the authors' figure tells."""

ARMS = ("transformer", "mixer")

DRAWS = 500
"""Bootstrap draws behind an interval."""

SEEDS = 8

SWEPT = 3_000
"""Steps in which a setting has to show what it finds; where it is too few for the whole task, rows decide."""

SPARSITIES = {f"s{s}": s for s in (3, 5, 7)}
"""By the name of a cell."""


def make(sparsities: Sequence[int], swept: Sequence[int], *, steps: int) -> Contest:
    """Both arms on the linear map; `swept` are the sparsities at which each setting is tried.

    What races is evaluated without its patterns, so that it can stop at any evaluation.
    """
    arms = {
        "transformer": LINEAR_MAP_MODEL,
        "mixer": MlpMixerSpec(layers=1, d_model=128, variant="heads", heads=8),
    }
    cells = {f"s{s}": linear_map(f"s{s}", sparsity=s, seeds=SEEDS, steps=steps) for s in sparsities}
    sweeps = {f"s{s}": linear_map(f"s{s}", sparsity=s, seeds=2, steps=SWEPT, patterns=False) for s in swept}
    scales = (1.0, PAPER.linear_map.initialisation_scale)
    return Contest(arms, cells, sweeps, rates=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2), scales=scales, race=Race(first_seeds=2))


full = make(list(SPARSITIES.values()), (3, 5), steps=10_000)
laptop = make((3, 7), (3,), steps=3_000)


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss, and the step at which the training loss passes 0.45."""
    targets, within = read_targets("mixer_vs_transformer")["data"], read_tolerance("mixer_vs_transformer")
    rows: list[Comparison] = []
    for arm in full.list_arms(results):
        for cell, result in arm.cells.items():
            theirs = targets.get(f"s={SPARSITIES[cell]}", {})
            named = f"{arm.name}, {cell}"
            rows.append(result.compare_loss(f"{named}: loss", theirs.get(arm.name), within))
            there, ours = theirs.get("steps to loss .45", {}).get(arm.name), result.passings(LEVEL)
            rows.append(Comparison(f"{named}: step to loss {LEVEL}", there, ours, result.scale, digits=0))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """In each cell: whether the seeds show that one of the two finds rows sooner."""
    arms = {arm.name: arm for arm in full.list_arms(results)}
    both = [cell for cell in full.cells if all(name in arms and cell in arms[name].cells for name in ARMS)]
    compared = {
        cell: compare_emergences(
            {name: arms[name].cells[cell].units for name in ARMS}, Streams(0).generator("bootstrap"), draws=DRAWS
        )
        for cell in both
    }
    adjusted = adjust_holm([found.pairs[0].test.p_value for found in compared.values()])
    claims: list[Claim] = []
    for (cell, found), p_value in zip(compared.items(), adjusted, strict=True):
        told = "; ".join(
            f"{name}: all rows in {(rows == 16).sum()} of {len(rows)} seeds ({', '.join(map(str, rows))})"
            for name in ARMS
            if len(rows := arms[name].cells[cell].learned)
        )
        test = found.pairs[0].test
        claims.append(
            Claim(
                f"MLP-Mixer finds the rows of the linear map sooner than the transformer, {cell}",
                _judge_pair(p_value, mixer_sooner=test.excess[1] > 0),
                f"{found.pairs[0].sentence}; adjusted over {len(both)} cells p = {p_value:.3g}. {told}",
                cell,
            )
        )
    return claims


def _judge_pair(p_value: float, *, mixer_sooner: bool) -> Verdict:
    """What seeds do not show is open."""
    if p_value > SHOWN:
        return "open"
    return "reproduced" if mixer_sooner else "not reproduced"


study = make_study(full, laptop, compare=compare, judge=judge, about=ON_MIXERS)
