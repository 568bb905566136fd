"""On cellular automata the plateau grows with the number of cells, and the true pattern as a bias removes it."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import find_plateaus
from saltus.paper.setting import PLATEAU_LEVEL, PLATEAU_SIZES, name_plateau, plateaus
from saltus.paper.targets import read_targets
from saltus.report.comparison import Claim, Comparison, Verdict
from saltus.report.plates import OURS, add_legend, draw_plateaus, draw_theirs, label, open_plate
from saltus.results import Results

runs = plateaus(seeds=3)
laptop = plateaus((4, 8, 16), seeds=1)


def find_lengths(results: Results, size: int, *, biased: bool) -> list[float | None]:
    """[seed] the step at which the plateau ends."""
    name = name_plateau(size, biased=biased)
    return [plateau.by for plateau in find_plateaus(results[name], PLATEAU_LEVEL)] if name in results else []


def draw(results: Results) -> Figure:
    """Plateau length against S, without and with the bias; both axes logarithmic, censored seeds as triangles."""
    figure, axes = open_plate(2)
    for panel, biased in zip(axes, (False, True), strict=True):
        theirs = read_targets("cellular_automata_plateau")["data"]["biased" if biased else "standard"]
        draw_theirs(panel, [int(size) for size in theirs], list(theirs.values()))
        cells = {size: results.get(name_plateau(size, biased=biased)) for size in PLATEAU_SIZES}
        draw_plateaus(panel, cells, PLATEAU_LEVEL, OURS[biased])
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        title = "with the true pattern as a bias" if biased else "without a bias"
        label(panel, title, "S (cells)", "plateau (steps); triangles: censored")
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Plateau length of each cell."""
    rows: list[Comparison] = []
    for size, biased in [(size, biased) for size in PLATEAU_SIZES for biased in (False, True)]:
        name = name_plateau(size, biased=biased)
        theirs = read_targets("cellular_automata_plateau")["data"]["biased" if biased else "standard"].get(str(size))
        if name in results:
            ours = find_lengths(results, size, biased=biased)
            rows.append(
                Comparison(f"S={size}, {'bias' if biased else 'no bias'}", theirs, ours, results.scale(name), 0)
            )
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """The plateau grows with S; the bias shortens it."""
    plain = {size: lengths for size in PLATEAU_SIZES if (lengths := find_lengths(results, size, biased=False))}
    pairs = {s: (plain[s], b) for s in plain if (b := find_lengths(results, s, biased=True))}
    claims: list[Claim] = []
    if len(plain) > 1:
        # A censored seed is later than anything in its budget, which grows with S.
        longest = [np.median([np.inf if v is None else v for v in lengths]) for lengths in plain.values()]
        grows = all(a <= b for a, b in itertools.pairwise(longest))
        text = ", ".join(
            f"S={s}: {'censored' if np.isinf(m) else f'{m:,.0f}'}" for s, m in zip(plain, longest, strict=True)
        )
        claims.append(
            Claim(
                "a longer context lengthens the plateau",
                "reproduced" if grows else "in part" if longest[-1] > longest[0] else "not reproduced",
                f"median step at which it ends: {text}",
            )
        )
    if pairs:
        sooner = {s: np.median([np.inf if v is None else v for v in b]) for s, (_, b) in pairs.items()}
        before = {s: np.median([np.inf if v is None else v for v in p]) for s, (p, _) in pairs.items()}
        shorter = [s for s in pairs if sooner[s] < before[s]]
        large = [s for s in pairs if s >= 8]  # at S=4 the authors' are as long with it
        claims.append(
            Claim(
                "the true pattern as a bias shortens the plateau",
                _judge_shorter(shorter, large),
                "; ".join(f"S={s}: {before[s]:,.0f} to {sooner[s]:,.0f}" for s in pairs) + " (median steps)",
            )
        )
    return claims


def _judge_shorter(shorter: Sequence[int], large: Sequence[int]) -> Verdict:
    if not large:
        return "not measured"
    return "reproduced" if set(large) <= set(shorter) else "in part" if shorter else "not reproduced"
