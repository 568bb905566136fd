"""MLP-Mixer against transformer on the linear map, each at its own best learning rate (S=16, s=3, 5, 7)."""

from collections.abc import Mapping, Sequence
from math import inf

from saltus.measure.outcomes import median_step
from saltus.paper.setting import LINEAR_MAP_MODEL, linear_map
from saltus.paper.targets import read_targets
from saltus.specs import MlpMixerSpec
from saltus.studies.claims import Claim, Comparison
from saltus.studies.contest import Contest, make_study
from saltus.studies.results import Results

LEVEL = 0.45
"""The training loss, in nats, whose step the authors' figure tells."""

SPARSITIES = {f"s{s}": s for s in (3, 5, 7)}
"""By the name of a cell."""


def make(sparsities: Sequence[int], swept: Mapping[int, int], *, seeds: int, steps: int) -> Contest:
    """Both arms on the linear map; `swept` are the sparsities at which each rate is tried, and for how many steps."""
    arms = {
        "transformer": LINEAR_MAP_MODEL,
        "mixer": MlpMixerSpec(layers=1, d_model=128, variant="heads", heads=8),
    }
    cells = {f"s{s}": linear_map(f"s{s}", sparsity=s, seeds=seeds, steps=steps) for s in sparsities}
    sweeps = {f"s{s}": linear_map(f"s{s}", sparsity=s, seeds=2, steps=n) for s, n in swept.items()}
    return Contest(arms, cells, sweeps, rates=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2))


full = make(list(SPARSITIES.values()), {3: 3_000, 5: 10_000}, seeds=8, steps=10_000)
laptop = make((3, 7), {3: 3_000}, seeds=8, steps=3_000)


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss, and the step at which the training loss passes 0.45."""
    targets = read_targets("mixer_vs_transformer")["data"]
    rows: list[Comparison] = []
    for arm in full.list_arms(results):
        for cell, result in arm.cells.items():
            theirs = targets.get(f"s={SPARSITIES[cell]}", {})
            named = f"{arm.name}, {cell}"
            rows.append(Comparison(f"{named}: loss", theirs.get(arm.name), list(result.final_loss), result.scale))
            there, ours = theirs.get("steps to loss .45", {}).get(arm.name), result.passings(LEVEL)
            rows.append(Comparison(f"{named}: step to loss {LEVEL}", there, ours, result.scale, digits=0))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """In each cell: which arm has more rows at the end, and which had half of the rows sooner."""
    arms = {arm.name: arm for arm in full.list_arms(results)}
    claims: list[Claim] = []
    for cell in full.cells:
        if not all(name in arms and cell in arms[name].cells for name in ("transformer", "mixer")):
            continue
        learned = {name: arm.cells[cell].learned for name, arm in arms.items()}
        ahead = learned["mixer"].mean() > learned["transformer"].mean()
        halves = {name: median_step(arm.cells[cell].units) for name, arm in arms.items()}
        sooner = halves["mixer"] is not None and halves["mixer"] < (halves["transformer"] or inf)
        claims.append(
            Claim(
                f"MLP-Mixer finds the rows of the linear map sooner than the transformer, {cell}",
                "reproduced" if ahead and sooner else "in part" if ahead or sooner else "not reproduced",
                "; ".join(
                    f"{name}: all rows in {(learned[name] == 16).sum()} of {len(learned[name])} seeds "
                    f"({', '.join(map(str, learned[name]))}), "
                    f"half of all rows {'not in the budget' if (half := halves[name]) is None else f'by {half:,.0f}'}"
                    for name in learned
                ),
                cell,
            )
        )
    return claims


study = make_study(full, laptop, compare=compare, judge=judge)
