"""What watching a training costs, and whether it changes anything.

Run as `python benchmarks/monitor.py`; with --write, results/monitor.md is written. Each model is trained with the same
seed in three ways: alone, watched as the monitor is by default (at most 2% of the training time), and watched without a
bound. Rounds alternate between the ways, so that a machine whose speed drifts is fair to all of them; ratios are taken
round by round, and medians are reported. Weights, moments of the optimiser and random states at the end are compared
bit by bit in every round.

The models: the plain loop of examples/character_gpt.py, with attention read by a function of the user's; and a Llama of
transformers with dropout in its attention, of which all known patterns and the capability `repetition` are measured.

Times are processor seconds of the process, which has one thread: others on the machine do not count.
"""

import argparse
import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from speed import describe_machine
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from saltus.monitor import Monitor
from saltus.monitor.records import MonitorRecords
from saltus.specs.training import ScheduleSpec

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))

import character_gpt  # noqa: E402  # pyright: ignore[reportMissingImports]  # the example is the model

RESULTS = ROOT / "results" / "monitor.md"
ROUNDS = 3
STEPS = 200
EVERY = 20
WORDS = [f"w{number}" for number in range(256)]
WAYS: dict[str, float | None] = {"alone": 0.0, "at most 2%": 0.02, "without a bound": None}
"""By name, the bound; a training alone has no monitor."""
HEADER = (
    "model",
    "way",
    "processor s",
    "ratio",
    "range of ratio",
    "probes",
    "s a probe",
    "overhead as measured",
    "same bits",
)


@dataclass(frozen=True)
class Subject:
    """A model, its data, and what is measured of it."""

    name: str
    make: Callable[[], nn.Module]
    draw: Callable[[], Tensor]
    """A batch [sequence, position]."""
    logits: Callable[[Any, Tensor], Tensor]
    watch: dict[str, Any]


@dataclass
class Findings:
    """What the rounds gave of one subject, by way."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    same: dict[str, list[bool]] = field(default_factory=lambda: {way: [] for way in WAYS})
    records: dict[str, MonitorRecords] = field(default_factory=dict[str, MonitorRecords])


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Words between white space."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words)


def make_llama() -> nn.Module:
    """Four layers of four heads, 128 wide."""
    sizes: dict[str, Any] = {"vocab_size": len(WORDS), "hidden_size": 128, "intermediate_size": 512}
    sizes |= {"num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 64}
    return LlamaForCausalLM(LlamaConfig(**sizes, attention_dropout=0.1, bos_token_id=None, eos_token_id=None))


def draw_letters() -> Tensor:
    """A batch of the example."""
    return character_gpt.draw_text(32)


def read_logits(model: Any, tokens: Tensor) -> Tensor:
    """Of a module that returns them."""
    return model(tokens)


def read_language(model: Any, tokens: Tensor) -> Tensor:
    """Of a model of transformers."""
    return model(tokens).logits


SUBJECTS = (
    Subject(
        "GPT of the example",
        character_gpt.GPT,
        draw_letters,
        read_logits,
        {
            "tokens": torch.arange(24).remainder(12).expand(8, 24),
            "attention": character_gpt.read_attention,
            "capabilities": [character_gpt.repeating],
        },
    ),
    Subject(
        "Llama with dropout",
        make_llama,
        lambda: torch.randint(len(WORDS), (8, 24)).repeat(1, 2),
        read_language,
        {"tokenizer": make_tokenizer(), "capabilities": ["repetition"]},
    ),
)


def train(subject: Subject, monitor: Monitor | None) -> tuple[float, str]:
    """Processor seconds of the training, with the monitor's; and a hash of all that it leaves."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    model = subject.make().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    begin = time.process_time()
    for step in range(STEPS):
        batch = subject.draw()
        read = subject.logits(model, batch)
        loss = cross_entropy(read[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if monitor:
            monitor.step(step + 1, model, loss=loss)
    if monitor:
        monitor.close()
    seconds = time.process_time() - begin
    digest = hashlib.sha256()
    for tensor in (*model.state_dict().values(), *list_moments(optimiser), torch.get_rng_state()):
        digest.update(tensor.contiguous().numpy().tobytes())
    digest.update(repr((random.getstate(), np.random.get_state(legacy=False))).encode())
    return seconds, digest.hexdigest()


def list_moments(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """All tensors that the optimiser keeps, in the order of the parameters."""
    return [value for state in optimiser.state.values() for value in state.values() if isinstance(value, Tensor)]


def measure(subject: Subject, rounds: int) -> Findings:
    """Train in every way, round by round."""
    findings = Findings()
    train(subject, None)  # what the first training pays once is not the ways' difference
    for _ in range(rounds):
        alone = ""
        for way, bound in WAYS.items():
            with tempfile.TemporaryDirectory() as place:
                console = Console(file=StringIO())
                schedule = ScheduleSpec(every=EVERY)
                watching = way != "alone"
                monitor = (
                    Monitor(place, **subject.watch, at_most=bound, schedule=schedule, console=console)
                    if watching
                    else None
                )
                seconds, left = train(subject, monitor)
                alone = alone or left
                findings.seconds[way].append(seconds)
                findings.same[way].append(left == alone)
                if monitor:
                    findings.records[way] = monitor.folder.records()
    return findings


def tabulate(subject: Subject, findings: Findings) -> list[tuple[str, ...]]:
    """A row for each way."""
    rows: list[tuple[str, ...]] = []
    for way, seconds in findings.seconds.items():
        ratios = [own / alone for own, alone in zip(seconds, findings.seconds["alone"], strict=True)]
        records = findings.records.get(way)
        measured = ("", "", "")
        if records:
            last = records.rows[-1]
            probes = len(records.rows)
            measured = (str(probes), f"{last.spent / probes:.3f}", f"{records.overhead:.1%}")
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        same = "yes" if all(findings.same[way]) else "NO"
        times = (f"{statistics.median(seconds):.2f}", f"{statistics.median(ratios):.3f}", spread)
        rows.append((subject.name, way, *times, *measured, same))
    return rows


def write_results(rows: list[tuple[str, ...]], rounds: int) -> None:
    """The page of results."""
    lines = [
        "# Watching a training",
        "",
        "Generated by `.venv/bin/python benchmarks/monitor.py --write`, not by hand.",
        "",
        f"- Machine: {describe_machine()}, {torch.get_num_threads()} thread",
        f"- Date: {date.today().isoformat()}",
        f"- Work: {STEPS} steps; a probe is due at steps 1, 2, 4, 8, 16 and then every {EVERY}, and one is made at the "
        "end. The models and what is measured of them are in the script's first lines.",
        f"- {rounds} rounds, the ways in turn; processor seconds of one thread, medians, ratios to the training alone "
        "taken round by round.",
        "- Overhead as measured is what the monitor records: seconds of probes for each second of training. Same bits: "
        "weights, moments of AdamW and the random states of torch, numpy and Python at the end are those of the "
        "training alone, in every round.",
        "- The first probe is made before its cost is known, and the last one when the monitor is closed: for these "
        "two a training of some seconds may pay more than its bound.",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + " --- |" * len(HEADER),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    RESULTS.write_text("\n".join(lines))


def main() -> None:
    """Measure, print, and write with --write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write results/monitor.md")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of timing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for subject in SUBJECTS for row in tabulate(subject, measure(subject, arguments.rounds))]
    table = Table(*HEADER)
    for row in rows:
        table.add_row(*row)
    Console(width=160 if not sys.stdout.isatty() else None).print(table)
    if arguments.write:
        write_results(rows, arguments.rounds)


if __name__ == "__main__":
    main()
