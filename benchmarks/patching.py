"""Time and memory of patching every head, against one whole forward pass for each of them.

Run as `python benchmarks/patching.py`. Rounds alternate between the programs, so that a machine whose speed drifts is
fair to all of them; ratios are taken round by round, and medians are reported. With --write, results/patching.md
is written.

The work: a randomly initialised model of Pythia-160M's shape, 16 prompts of 32 tokens, a target of one token, float32;
the patterns of another random model are put in the place of each of the 144 heads' in turn. They are read beforehand:
both ways need them. The plain way replaces the head's pattern in the same written-out attention and runs the whole
model once for each head; its logits are those of all 512 positions, as the library computes them where nothing else is
asked for, or those of the 16 last ones alone (logits_to_keep=1). In a round it does one head of each layer, which all
cost the same, and is scaled up to 144; once, before the rounds, it does all of them, and the results are compared.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from speed import describe_machine, peak_memory
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.batches import PromptBatch, batch_prompts
from saltus.lm.patching.effects import Agreement, compare_rankings
from saltus.lm.patching.heads import Case, measure_heads
from saltus.lm.patching.replacement import Queries, capture_attention, make_replacement
from saltus.lm.patching.screen import estimate_effects
from saltus.lm.patching.tap import Tap, run_tapped

LAYERS, HEADS, LENGTH, PROMPTS = 12, 12, 32, 16
ROUNDS = 5
PLAIN_PASSES = 12
"""Heads that the plain way does in a round."""
ROWS = 256
MEMORY_ROWS = (64, 256)
CORES = 2
RESULTS = Path(__file__).parent.parent / "results" / "patching.md"
HEADER = ("program", "s for 144 heads", "range", "ratio", "range of ratio")

Heads = list[tuple[int, int]]


@dataclass(frozen=True)
class Work:
    """A model, and what is put into it."""

    model: GPTNeoXForCausalLM
    every: Case
    """Patterns of all queries."""
    last: Case
    """Patterns of the last query alone."""


@dataclass(frozen=True)
class Findings:
    """What was measured."""

    seconds: dict[str, list[float]]
    """By program, for 144 heads, in each round; the first is what the others are compared with."""
    differences: dict[str, float] = field(default_factory=dict[str, float])
    """By queries, the largest difference of a log probability from the plain way's, in nats."""
    largest: dict[str, float] = field(default_factory=dict[str, float])
    """By queries, the largest effect on a log probability, in nats."""
    agreement: Agreement | None = None
    memory: dict[int, float] = field(default_factory=dict[int, float])
    """By `rows`, the largest resident set of a process that patches all heads on all queries, in GiB."""


def make_model(seed: int) -> GPTNeoXForCausalLM:
    """Pythia-160M's shape. Weights are wider than at initialisation, so that patterns are not all but uniform."""
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=50304,
        hidden_size=768,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=3072,
        max_position_embeddings=2048,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPTNeoXForCausalLM(config).eval().requires_grad_(requires_grad=False)


def make_work() -> Work:
    """The two models are dropped to one: of the donor only its patterns are needed."""
    generator = np.random.default_rng(0)
    model, donor = make_model(0), make_model(1)
    prompts: list[Prompt] = []
    for _ in range(PROMPTS):
        tokens: list[int] = generator.integers(0, 50304, LENGTH).tolist()
        with torch.no_grad():  # a target that is not all but impossible
            target = int(model(torch.tensor([tokens])).logits[0, -1].argmax())
        prompts.append(Prompt("", tuple(tokens), (target,), ""))
    [batch] = batch_prompts(prompts, torch.device("cpu"))
    return Work(model, make_case(donor, batch, "all"), make_case(donor, batch, "last"))


def make_case(donor: GPTNeoXForCausalLM, batch: PromptBatch, queries: Queries) -> Case:
    """The donor's patterns."""
    captured = capture_attention(donor, batch, "pattern", queries, ROWS)
    return Case(batch, make_replacement(captured, "own", np.random.default_rng(0)))


def patch_plainly(work: Work, case: Case, heads: Heads, *, keep: int = 0) -> NDArray[np.float64]:
    """[head, prompt] log probability of the target, from one whole pass for each head."""
    live = case.replacement.shape[-2]
    measured: list[Tensor] = []
    for patched_layer, head in heads:

        def edit(layer: int, _scores: Tensor, pattern: Tensor, at: tuple[int, int] = (patched_layer, head)) -> Tensor:
            if layer == at[0]:
                pattern[:, at[1], -live:] = case.replacement[layer][:, at[1]]
            return pattern

        with torch.no_grad():
            logits = run_tapped(work.model, case.batch.tokens, Tap(edit=edit), use_cache=False, logits_to_keep=keep)
        measured.append(case.batch.score(logits[:, -case.batch.scored :]))
    return torch.stack(measured).double().numpy()


def take_time(run: Callable[[], object], scale: float = 1.0) -> float:
    """Seconds that `run` takes, times `scale`."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * scale


def measure(rounds: int) -> Findings:
    """All of it but memory."""
    torch.set_num_threads(CORES)
    work = make_work()
    every: Heads = [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
    some = every[:: len(every) // PLAIN_PASSES]
    scale = len(every) / len(some)
    programs: dict[str, Callable[[], float]] = {
        "plain, one whole pass for each head": lambda: take_time(lambda: patch_plainly(work, work.every, some), scale),
        "plain, logits of the last position alone": lambda: take_time(
            lambda: patch_plainly(work, work.every, some, keep=1), scale
        ),
        "saltus, all queries": lambda: take_time(lambda: measure_heads(work.model, [work.every], ROWS)),
        "saltus, the last query alone": lambda: take_time(lambda: measure_heads(work.model, [work.last], ROWS)),
        "saltus, first-order estimate": lambda: take_time(lambda: estimate_effects(work.model, [work.every], ROWS)),
    }
    findings = Findings({name: [] for name in programs})
    for queries, case in (("all queries", work.every), ("the last query alone", work.last)):
        expected = patch_plainly(work, case, every, keep=1)
        effects = measure_heads(work.model, [case], ROWS)
        findings.differences[queries] = float(np.abs(effects.patched.reshape(expected.shape) - expected).max())
        findings.largest[queries] = float(np.abs(effects.patched - effects.unpatched).max())
    exact = measure_heads(work.model, [work.every], ROWS).effect
    estimated = estimate_effects(work.model, [work.every], ROWS)
    agreement = compare_rankings(estimated.mean(axis=2).ravel(), exact.mean(axis=2).ravel(), first=10)
    for _ in range(rounds):
        for name, run in programs.items():
            findings.seconds[name].append(run())
    memory = {rows: measure_memory(rows) for rows in MEMORY_ROWS}
    return Findings(findings.seconds, findings.differences, findings.largest, agreement, memory)


def measure_memory(rows: int) -> float:
    """The peak of a process of its own, in GiB."""
    command = [sys.executable, __file__, "--memory", str(rows)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def report_memory(rows: int) -> None:
    """Patch all heads on all queries, and write the peak."""
    torch.set_num_threads(CORES)
    work = make_work()
    measure_heads(work.model, [work.every], rows)
    sys.stdout.write(f"{peak_memory(os.getpid())}\n")


def tabulate(findings: Findings) -> list[tuple[str, ...]]:
    """Name, median seconds and range, ratio to the first by round."""
    baseline = next(iter(findings.seconds.values()))
    rows: list[tuple[str, ...]] = []
    for name, seconds in findings.seconds.items():
        ratios = [100 * mine / plain for mine, plain in zip(seconds, baseline, strict=True)]
        rows.append(
            (
                name,
                f"{statistics.median(seconds):.1f}",
                f"{min(seconds):.1f} to {max(seconds):.1f}",
                f"{statistics.median(ratios):.1f}%",
                f"{min(ratios):.1f}% to {max(ratios):.1f}%",
            )
        )
    return rows


def describe(findings: Findings) -> list[str]:
    """What there is besides times, as lines."""
    lines = [
        f"Log probabilities on {queries} differ from the plain way's by at most {difference:.1e} nats; the largest "
        f"effect of a head is {findings.largest[queries]:.2g} nats."
        for queries, difference in findings.differences.items()
    ]
    if agreement := findings.agreement:
        lines.append(
            f"The first-order estimate ranks the {LAYERS * HEADS} heads with a rank correlation of "
            f"{agreement.spearman:.2f} to the exact effects, and finds {agreement.overlap:.0%} of the first "
            f"{agreement.first}."
        )
    lines += [
        f"Peak memory with rows={rows}: {peak:.2f} GiB, both models and PyTorch itself included."
        for rows, peak in findings.memory.items()
    ]
    return lines


def write_results(findings: Findings, rounds: int) -> None:
    """The table and where it comes from."""
    lines = [
        "# Patching",
        "",
        "Generated by `.venv/bin/python benchmarks/patching.py --write`, not by hand.",
        "",
        f"- Machine: {describe_machine()}",
        f"- Date: {date.today().isoformat()}",
        f"- Work: every head of a random model of Pythia-160M's shape, {PROMPTS} prompts of {LENGTH} tokens, a target "
        f"of one token, float32, {CORES} threads, rows={ROWS}. The donor's patterns are read beforehand.",
        f"- The plain way runs the whole model for each head; in a round {PLAIN_PASSES} heads, scaled up to 144. It "
        "computes the logits of all 512 positions, in the second row those of the 16 last ones alone.",
        f"- {rounds} rounds, the programs in turn; medians, ratios to the first row taken round by round.",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + " --- |" * len(HEADER),
        *("| " + " | ".join(row) + " |" for row in tabulate(findings)),
        "",
        *(f"- {line}" for line in describe(findings)),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure, print, and write with --write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write results/patching.md")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of timing")
    parser.add_argument("--memory", type=int, help="only patch with so many rows, and write the peak in GiB")
    arguments = parser.parse_args()
    if arguments.memory:
        report_memory(arguments.memory)
        return
    findings = measure(arguments.rounds)
    table = Table(*HEADER)
    for row in tabulate(findings):
        table.add_row(*row)
    console = Console(width=120 if not sys.stdout.isatty() else None)
    console.print(table)
    for line in describe(findings):
        console.print(line, highlight=False)
    if arguments.write:
        write_results(findings, arguments.rounds)


if __name__ == "__main__":
    main()
