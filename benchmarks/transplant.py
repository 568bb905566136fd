"""Do the patterns that a run found bring what it learnt? Transplants into earlier checkpoints of the demo's linear map.

    python benchmarks/transplant.py --out runs

Trains the demo's run with 4 seeds and more checkpoints, two minutes of a core; then writes results/transplant.md.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from saltus import RunSpec, ScheduleSpec, api
from saltus.demo import DEMO
from saltus.train.evaluate import evaluate_seed
from saltus.train.folder import RunFolder
from saltus.train.head_effects import Transplant
from saltus.train.material import Material
from saltus.train.surgery import Patient, ablate_heads, load_patient, transplant_patterns
from saltus.train.trained import load_model

RESULTS = Path(__file__).parent.parent / "results"
EVERY = ScheduleSpec(every=50)
SPEC = RunSpec(
    name="transplant",
    task=DEMO.task,
    model=DEMO.model,
    training=DEMO.training.model_copy(
        update={"evaluate": EVERY, "snapshot": EVERY, "checkpoint": EVERY, "patterns": False, "compile": False}
    ),
    seeds=4,
    master_seed=DEMO.master_seed,
)
NOTHING = 0.1
"""A share of the gap below which nothing is recovered."""

OWN = "control: the recipient's own patterns"
PLACEBO = "control: patterns of a seed that knows nothing"

PATTERNS = {
    "its patterns, all heads": "all",
    "its patterns, heads matched": "matched",
    "its patterns, the best single head": "head",
    OWN: "self",
    PLACEBO: "placebo",
}

START, BEFORE, HALF = "at initialisation", "before its first row", "with half of the rows"
"""When a recipient is."""

READS = "weights: MLP, last norm and unembedding"
REST = "weights: all but queries and keys"

PARTS: dict[str, Callable[[str], bool]] = {
    "weights: queries and keys": lambda name: name == "queries and keys",
    "weights: attention (queries, keys, values, output)": lambda name: name == "queries and keys" or ".mixer." in name,
    "weights: attention and embeddings": lambda name: (
        name == "queries and keys" or ".mixer" in name or name.startswith(("embedding", "positions"))
    ),
    READS: lambda name: ".mlp" in name or name.startswith(("norm", "unembedding")),
    REST: lambda name: name != "queries and keys",
    "weights: all": lambda name: True,
}
"""By what they are called here, which weights of the donor are put in; queries and keys are a part of their matrix."""


@dataclass(frozen=True)
class Recipient:
    """A seed at an earlier step, and what it recovers of the gap to the end by what is put in."""

    when: str
    seed: int
    step: int
    missing: int
    """Rows that the donor has and it has not, over which shares are taken."""
    gap: float
    """In their loss, in nats."""
    shares: dict[str, float]


def mix(recipient: dict[str, Tensor], donor: dict[str, Tensor], taken: Callable[[str], bool]) -> dict[str, Tensor]:
    """The recipient's weights with those of the donor that are taken."""
    mixed: dict[str, Tensor] = {}
    for name, ours in recipient.items():
        theirs = donor[name]
        if "query_key_value" not in name:
            mixed[name] = theirs if taken(name) else ours
            continue
        values = len(ours) * 2 // 3  # the last third of the rows is the values
        mixed[name] = torch.cat(
            [
                (theirs if taken("queries and keys") else ours)[:values],
                (theirs if taken(name) else ours)[values:],
            ]
        )
    return mixed


def choose_steps(folder: RunFolder, seed: int) -> dict[str, tuple[int, NDArray[np.bool_]]]:
    """By name, kept steps of a seed to put patterns into, and which rows the last step has and they have not."""
    records = folder.records()
    there = records.cube("units", "progress")[seed] >= records.rule.level  # [evaluation, unit]
    rows = dict(zip(records.evaluated_steps.tolist(), there, strict=True))
    steps = folder.checkpoint_steps(seed)
    last = rows[steps[-1]]
    first = next(step for step in steps if rows[step].any())
    half = next((step for step in steps if last.sum() > rows[step].sum() >= last.sum() / 2), None)
    chosen = {START: steps[0], BEFORE: max(step for step in steps if step < first), HALF: half}
    return {name: (step, last & ~rows[step]) for name, step in chosen.items() if step is not None}


def measure(folder: RunFolder, seed: int) -> tuple[list[Recipient], list[int]]:
    """All recipients of a seed; and for each head how many rows need it at the end."""
    material = Material(folder.spec(), seed, torch.device("cpu"))
    other = (seed + 1) % folder.spec().seeds
    last = folder.checkpoint_steps(seed)[-1]
    donor, placebo = load_patient(folder, last, seed, material), load_patient(folder, 0, other, material)
    found: list[Recipient] = []
    for when, (step, missing) in choose_steps(folder, seed).items():
        recipient = load_patient(folder, step, seed, material)
        measured = transplant_patterns(recipient, donor, placebo, material)
        shares = {
            name: max(recover(measured, each.loss, missing) for each in measured.changed if each.kind == kind)
            for name, kind in PATTERNS.items()
        }
        for name, taken in PARTS.items():
            model = load_model(folder, step, seed)
            model.load_state_dict(mix(recipient.model.state_dict(), donor.model.state_dict(), taken))
            evaluated = evaluate_seed(model, {}, material.evaluation_tokens, material.task, None, patterns=False)
            shares[name] = recover(measured, material.facts.mean_by_unit(evaluated.loss), missing)
            if name in (READS, REST):
                both = transplant_patterns(Patient(model, None), donor, placebo, material).of("all")
                shares[f"its patterns, and {name}"] = recover(measured, both.loss, missing)
        gap = float((measured.recipient - measured.donor)[missing].mean())
        found.append(Recipient(when, seed, step, int(missing.sum()), gap, shares))
    ablated = ablate_heads(donor, material)
    chance, (_, learnt) = material.facts.mean_by_unit(material.facts.chance_loss), choose_steps(folder, seed)[START]
    needed = [
        int((learnt & (each.loss - ablated.whole > 0.5 * (chance - ablated.whole))).sum())
        for each in ablated.changed
        if each.kind == "mean"
    ]
    return found, needed


def recover(measured: Transplant, loss: NDArray[np.float64], rows: NDArray[np.bool_]) -> float:
    """The share of the gap between recipient and donor that a loss [unit] closes, over some rows together."""
    return float((measured.recipient - loss)[rows].mean() / (measured.recipient - measured.donor)[rows].mean())


def tabulate(found: list[Recipient]) -> list[str]:
    """A table for each kind of recipient: what is put in, and the share recovered in each seed."""
    lines: list[str] = []
    for when in dict.fromkeys(each.when for each in found):
        some = [each for each in found if each.when == when]
        names = [f"seed {each.seed}, step {each.step:,}" for each in some]
        lines += ["", f"## Recipient {when}", "", f"| put in | {' | '.join(names)} |", "|---|" + "---|" * len(some)]
        lines.append("| rows that it lacks | " + " | ".join(str(each.missing) for each in some) + " |")
        lines.append("| gap to the donor, nats | " + " | ".join(f"{each.gap:.3f}" for each in some) + " |")
        for name in some[0].shares:
            lines.append(f"| {name} | " + " | ".join(f"{each.shares[name]:.0%}" for each in some) + " |")
    return lines


def say_range(some: list[Recipient], name: str) -> str:
    """Smallest and largest share of these."""
    shares = [each.shares[name] for each in some]
    return f"{min(shares):.0%} to {max(shares):.0%}"


def conclude(found: list[Recipient]) -> list[str]:
    """What is found, whichever it is."""
    lines: list[str] = []
    for when in (START, BEFORE, HALF):
        some = [each for each in found if each.when == when]
        if not some:
            continue
        most = max(each.shares[name] for each in some for name in list(PATTERNS)[:3])
        verdict = "recover nothing" if most < NOTHING else f"recover up to {most:.0%} of the gap"
        names = [*list(PATTERNS)[:3], PLACEBO, "weights: queries and keys"]
        ranges = "; ".join(f"{name} {say_range(some, name)}" for name in names)
        lines.append(f"- **Into a recipient {when} the donor's patterns {verdict}**: {ranges}.")
    own = max(abs(each.shares[OWN]) for each in found)
    rest = max(abs(each.shares[f"its patterns, and {REST}"] - 1.0) for each in found)
    lines.append(
        f"- The two exact controls are off by {own:.0%} (the recipient's own patterns, which are to change nothing) "
        f"and {rest:.0%} (the donor's patterns with all its weights but queries and keys, to be the donor)."
    )
    return lines


def describe(found: list[Recipient], needed: list[list[int]]) -> list[str]:
    """The page, line by line."""
    lines = [
        "# Does the pattern that a run found bring what it learnt?",
        "",
        "Generated by `python benchmarks/transplant.py`, not by hand.",
        "",
        "The demo's linear map (10 rows, 3 of 10 keys each; one layer of 8 heads), 4 seeds. The donor is a seed at "
        "its last step, the recipient the same seed earlier. The donor's attention patterns, sequence by sequence, "
        "take the place of the recipient's; or some of the donor's weights do, or both. The number is the share of the "
        "gap in loss that this recovers, over the rows that the donor has and the recipient lacks: 0% changes nothing, "
        "100% is the donor, below 0% it harms; below 10% is called nothing. The hypothesis: a pattern alone brings "
        "nothing, since values and MLP that can use it were trained with it.",
        "",
        *conclude(found),
        *tabulate(found),
        "",
        "## Heads that rows need at the end",
        "",
        "Rows that were learnt and lose more than half of their way from chance when a head's output is replaced by "
        "its mean over sequences.",
        "",
        "| seed | " + " | ".join(f"head {head}" for head in range(len(needed[0]))) + " |",
        "|---|" + "---|" * len(needed[0]),
    ]
    return lines + [f"| {seed} | " + " | ".join(map(str, rows)) + " |" for seed, rows in enumerate(needed)]


def main() -> None:
    """Train unless that is done, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=api.DEFAULT_ROOT, help="folder that holds the runs")
    folder = api.run(SPEC, out=parser.parse_args().out, device="cpu")
    measured = [measure(folder, seed) for seed in range(SPEC.seeds)]
    lines = describe([each for found, _ in measured for each in found], [needed for _, needed in measured])
    Console(width=120).print("\n".join(lines), markup=False, highlight=False)
    (RESULTS / "transplant.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
