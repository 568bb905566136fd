"""The paper's claims about language models, on a family that is trained here: ours, not Pythia.

Run as `make language-models`: three sizes of ten seeds are trained on sequences that repeat (`saltus pocket`), scanned
for repetition and copying, and patched across the largest jump. results/language-models.md, its figure and the CSV of
its emergences are written from the records, in the layout of the paper's figure: the step of each seed, by size.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from speed import describe_machine

from saltus import api
from saltus.curves import Emergence, Emergences
from saltus.lm.patching.effects import HeadEffect, PatchSummary, summarise_effects
from saltus.lm.pocket.presets import PERIODIC
from saltus.measure.abruptness import STRETCH
from saltus.measure.jumps import find_largest_jump
from saltus.measure.rises import Rises, summarise_rises
from saltus.paper.claims import ON_MODELS
from saltus.paper.targets import read_targets
from saltus.seeding import Streams
from saltus.specs.capabilities import CopyingSpec, RepetitionSpec
from saltus.specs.checkpoints import PatchSpec, ScanSpec
from saltus.studies.claims import Claim, Verdict
from saltus.studies.page import describe_row
from saltus.studies.panels import OURS, THEIRS, label, open_panels
from saltus.studies.tables import write_claims

REPETITION, COPYING = RepetitionSpec(prompts=32), CopyingSpec(prompts=32)
RESULTS = Path(__file__).parent.parent / "results"
NAME = "language-models"

APART = 3
"""Times the step of a size's first seed at which its last one comes, for the two to be very different."""

PYTHIA = {"14m": 14.1e6, "31m": 30.5e6, "70m": 70.4e6, "160m": 162.3e6, "410m": 405.3e6}
"""Parameters of the sizes of the paper's figure; each has ten seeds."""
SEEDS, MEASURED, BYTES = 10, 22, 2
"""Of a size; checkpoints that a scan measures of the 154 of a run, at most, where a capability stays; bytes of a
parameter in a file."""


@dataclass(frozen=True)
class Seeds:
    """The seeds of one size."""

    size: str
    found: Emergences

    @property
    def steps(self) -> list[int]:
        """Of those that gained it, in order."""
        return sorted(each.by for each in self.found if each.by is not None)

    @property
    def spread(self) -> float:
        """Step of the last over that of the first; no limit if one never gains it, and 1 if none does."""
        if not self.steps:
            return 1.0
        return float("inf") if len(self.steps) < len(self.found) else self.steps[-1] / max(1, self.steps[0])

    @property
    def told(self) -> str:
        """Such as `w16: 450 to 525, 3 of 10 never`."""
        never = len(self.found) - len(self.steps)
        came = f"{self.steps[0]:,} to {self.steps[-1]:,}" if self.steps else "none came"
        return f"{self.size}: {came}" + (f", {never} of {len(self.found)} not by the end" if never else "")


def list_sizes(found: Emergences) -> list[Seeds]:
    """The seeds of each size that was trained."""
    return [Seeds(size, found.group(size)) for size in found.groups]


def judge_seeds(sizes: Sequence[Seeds]) -> Claim:
    """Whether seeds of one size gain it at very different steps."""
    apart = [each.spread >= APART for each in sizes]
    verdict: Verdict = "reproduced" if all(apart) else "in part" if any(apart) else "not reproduced"
    return Claim(
        "repetition: seeds of one size gain it at very different steps, or never",
        verdict,
        f"{'; '.join(each.told for each in sizes)}. Very different is a last seed {APART} times as late as the first, "
        "or one that never gains it; in part is: at some sizes",
    )


def judge_rises(rises: Rises | None) -> Claim:
    """Whether the probability of the target rises at once."""
    text = "repetition: a gain is abrupt"
    if rises is None:
        return Claim(text, "not measured", "no seed gained it")
    verdict: Verdict = (
        "reproduced" if 2 * rises.jumps > rises.curves else "in part" if rises.jumps else "not reproduced"
    )
    return Claim(
        text,
        verdict,
        f"in {rises.jumps} of {rises.curves} seeds half of the rise of the target's probability lies in a stretch from "
        f"a step to {1 + STRETCH} times that step, and in {rises.unclear} the checkpoints leave it open; from 10% to "
        f"90% of the rise takes {rises.width:.2f} of the step of its middle (median). Reproduced is more than half, in "
        "part any",
    )


def limit(claim: Claim) -> Claim:
    """What other models than the paper's can say of it: at most that it holds in part."""
    if claim.verdict != "reproduced":
        return claim
    return replace(claim, verdict="in part", why=f"{claim.why}. Not the paper's models, so no more than in part")


def find_best(summary: PatchSummary, kind: str) -> HeadEffect | None:
    """The head with the largest effect of a kind, of those that were measured."""
    known = [each for each in summary.heads if each.kind == kind and np.isfinite(each.effect.estimate)]
    return max(known, key=lambda each: each.effect.estimate, default=None)


def say(head: HeadEffect) -> str:
    """Such as `+0.12 [+0.08, +0.15]`."""
    effect = head.effect
    return f"{effect.estimate:+.2f} [{effect.lower:+.2f}, {effect.upper:+.2f}]"


def judge_patch(summary: PatchSummary, gain: float) -> Claim:
    """Whether the later pattern of one head, put into the earlier checkpoint, brings more than a control does."""
    best, control = find_best(summary, "patch"), find_best(summary, "shuffled")
    if best is None or control is None:
        return Claim("one head's later pattern brings some of the gain", "not measured", "no head was measured")
    brings = best.effect.lower > max(0.0, control.effect.upper)
    whole = [each for each in summary.sets if each.kind == "all"]
    told = f"; all heads together bring {whole[-1].share.estimate:.0%} of it" if whole else ""
    return Claim(
        "repetition: the later pattern of a single head, put into the earlier checkpoint, brings some of the gain",
        "reproduced" if brings else "not reproduced",
        f"head {best.layer}.{best.head}: {say(best)} of a gain of {gain:+.2f} in the target's probability; a pattern "
        f"with shuffled rows, the best head: {say(control)}{told}",
    )


def draw_seeds(panel: Axes, steps: dict[str, list[int | None]], end: int, colour: str) -> None:
    """Each seed's step by size, spread sideways; above the line those that had not gained it by the end."""
    for place, seeds in enumerate(steps.values()):
        ordered = sorted(end * 1.5 if step is None else step for step in seeds)
        across = place + np.linspace(-0.3, 0.3, len(ordered))
        came = np.array([step <= end for step in ordered])
        panel.plot(across[came], np.array(ordered)[came], "o", color=colour, markersize=4)
        panel.plot(across[~came], np.array(ordered)[~came], "^", color=colour, markersize=5, markerfacecolor="none")
    panel.axhline(end * 1.2, color=THEIRS, linewidth=0.8, linestyle=":")
    panel.set_yscale("log")
    panel.set_xticks(range(len(steps)), list(steps))


def draw(found: Emergences, curves: Sequence[Any], end: int) -> Figure:
    """The authors' seeds by size, ours in the same layout, and the curve of every seed of ours."""
    figure, axes = open_panels(3, height=3.6)
    theirs = read_targets("pythia_copying")["data"]
    draw_seeds(axes[0], {size: theirs[size] for size in PYTHIA}, 143_000, THEIRS)
    label(axes[0], "authors: copying, Pythia (read off)", "size; above the line: not by step 143,000", "step")
    ours = {each.size: [one.by for one in each.found] for each in list_sizes(found)}
    draw_seeds(axes[1], ours, end, OURS[0])
    label(axes[1], "ours: repetition, models of this page", f"size; above the line: not by step {end:,}", "step")
    for colour, size in zip(OURS, ours, strict=False):
        for place, curve in enumerate(each for each in curves if each.key.group == size):
            axes[2].plot(curve.steps, curve.values, color=colour, linewidth=0.9, label="" if place else size)
    axes[2].legend(fontsize=7.5, frameon=False, loc=(0.82, 0.45))  # between the two kinds of end
    label(axes[2], "ours: each seed", "step", "mean probability of the target")
    return figure


def write_seeds(found: Sequence[Emergence], path: Path) -> None:
    """One line for each seed and capability, with the interval of its step."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("size", "seed", "capability", "after", "by", "lost"))
        for each in found:
            writer.writerow((each.key.group, each.key.seed, each.key.unit, each.after, each.by, each.lost))


def describe_pythia() -> list[str]:
    """What the paper's own figure takes."""
    gib = sum(SEEDS * MEASURED * parameters * BYTES for parameters in PYTHIA.values()) / 2**30
    return [
        "## What it takes to run Pythia's",
        "",
        f"The paper's figure has {len(PYTHIA)} sizes of {SEEDS} seeds and 154 checkpoints of each. A scan that looks "
        f"where something changes measures at most {MEASURED} of them for a capability that comes and stays: "
        f"{len(PYTHIA) * SEEDS * MEASURED:,} checkpoints, {gib:,.0f} GiB to fetch, of which no more is kept at a time "
        "than `--disk` allows. It was not run here.",
        "",
        "```sh",
        "saltus scan polypythias --capability copying --disk 20",
        "saltus patch polypythias --capability copying --size 160m --seed 3 --recipient BEFORE --donor AFTER",
        "```",
    ]


def main() -> None:
    """Train, scan and patch what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/language-models"), help="where all of it is kept")
    root: Path = parser.parse_args().root
    console = Console()
    suite = api.pocket(PERIODIC, out=root / "pockets", console=console)
    asked = ScanSpec(suite=f"folder:{suite}", capabilities=(REPETITION, COPYING), strategy="grid")
    scanned = api.scan(asked, out=root, device="cpu", console=console)
    records = scanned.records()
    smooth = records.curves_of("probability", REPETITION.kind)
    jump = find_largest_jump(smooth)
    assert jump is not None
    patched = api.patch(
        PatchSpec(
            suite=asked.suite,
            size=jump.key.group,
            seed=jump.key.seed,
            recipient=jump.before,
            donor=jump.after,
            capability=REPETITION,
        ),
        out=root,
        device="cpu",
        trajectory=False,
        console=console,
    ).records()
    every = records.find_emergences()
    found, others = every.unit(REPETITION.kind), every.unit(COPYING.kind)
    gain = float(np.mean(patched.prompts["donor"].to_numpy()) - np.mean(patched.prompts["recipient"].to_numpy()))
    summary = summarise_effects(patched, Streams(0).generator("bootstrap"))
    sizes = list_sizes(found)
    claims = [
        limit(claim)
        for claim in (judge_seeds(sizes), judge_rises(summarise_rises(smooth, found)), judge_patch(summary, gain))
    ]
    figure = draw(found, smooth, records.end)
    figure.savefig(RESULTS / f"{NAME}.png", format="png", metadata={"Software": None})
    write_seeds([*found, *others], RESULTS / f"{NAME}.csv")
    lines = [
        "<!-- Generated by `make language-models`, which replaces this file. -->",
        "# Language models: when repetition comes, seed by seed, and which head brings it",
        "",
        "[All results](README.md)",
        "",
        f"![The steps at which seeds gain a skill, by size, theirs and ours; the curves of ours]({NAME}.png)",
        "",
        "**These are not the paper's models, and it is another task:** ours have two layers and a width of 16 to 64, "
        "and were trained for minutes on sequences that repeat. The layout is that of the paper's figure.",
        "",
        write_claims(claims),
        "Repeat it: `make language-models`",
        "",
        f"The patch is across the largest jump of all runs: {jump.key.group}, seed {jump.key.seed}, steps "
        f"{jump.before:,} to {jump.after:,}. Every seed is in [{NAME}.csv]({NAME}.csv).",
        "",
        *describe_pythia(),
        "",
        f"Made on {describe_machine()}, {date.today().isoformat()}.",
        "",
        describe_row(ON_MODELS, claims, [len(each.found) for each in sizes]),
    ]
    (RESULTS / f"{NAME}.md").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    console.print(f"written: {RESULTS / NAME}.md")


if __name__ == "__main__":
    main()
