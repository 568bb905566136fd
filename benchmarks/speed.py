"""Seed-steps a second and memory of ensemble training, against a plain eager PyTorch loop on the same work.

Run as `make bench`. Rounds alternate between the programs, so that a machine whose speed drifts is fair to all of
them; ratios are taken round by round, and medians are reported. With --write, the machine's section of
results/speed.md is written, and those of other machines stay.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from saltus import LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.engines.local import Machine, open_machine
from saltus.models import decoder
from saltus.models.build import build_model
from saltus.processes import count_cores
from saltus.seeding import Streams
from saltus.tasks.build import build_task
from saltus.train.concerns import multiplies_low
from saltus.train.ensemble import list_members
from saltus.train.loop import Trainer

SEEDS = 16
ROUNDS = 25
PLAIN_STEPS = 12
RESULTS = Path(__file__).parent.parent / "results" / "speed.md"


@dataclass(frozen=True)
class Measurement:
    """One program: seed-steps a second in each round, and its memory."""

    name: str
    rates: list[float]
    memory_gib: float | None
    """Sum over processes of the largest resident set that each had, in GiB."""


def make_spec(precision: str) -> RunSpec:
    """The work: S=16, s=3, D=128, 8 heads, MLP 512, batch 256, full-sequence loss."""
    return RunSpec.model_validate(
        {
            "name": "speed",
            "task": LinearMapSpec(size=16, sparsity=3),
            "model": TransformerSpec(layers=1, d_model=128, heads=8, d_mlp=512),
            "training": TrainingSpec(steps=10_000, batch_sequences=256, precision=precision),  # pyright: ignore[reportArgumentType]
            "seeds": SEEDS,
        }
    )


class PlainLoop:
    """What one would write without saltus: eager, fused AdamW, the whole batch at once, each token projected."""

    def __init__(self, spec: RunSpec) -> None:
        streams = Streams(0)
        self._task = build_task(spec.task, streams.generator("task"))
        self._generator = streams.generator("data")
        self._model = build_model(spec.model, self._task.facts, 0)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-3, fused=True)

    def run(self, steps: int) -> float:
        """Train; seed-steps a second."""
        few, decoder.FEW_SYMBOLS = decoder.FEW_SYMBOLS, 0
        start = time.perf_counter()
        for _ in range(steps):
            tokens = torch.from_numpy(self._task.sample(self._generator, 256)).long()
            logits = self._model(tokens[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        rate = steps / (time.perf_counter() - start)
        decoder.FEW_SYMBOLS = few
        return rate


class EnsembleRun:
    """All seeds through saltus, one step at a time."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._step = 2
        trainer.advance(self._step)  # compiles

    def run(self, steps: int) -> float:
        """Train; seed-steps a second."""
        start = time.perf_counter()
        self._step += steps
        self._trainer.advance(self._step)
        return SEEDS * steps / (time.perf_counter() - start)


def open_all(machine: Machine, spec: RunSpec) -> EnsembleRun:
    """All seeds of a run."""
    return EnsembleRun(machine.open([spec], list_members([spec])))


def measure_on_cpu() -> list[Measurement]:
    """The plain loop at its best thread count, and saltus in both precisions."""
    plain = PlainLoop(make_spec("float32"))
    plain.run(3)
    cores = count_cores()
    by_threads: dict[int, float] = {}
    for threads in range(1, cores + 1):
        torch.set_num_threads(threads)
        by_threads[threads] = plain.run(PLAIN_STEPS)
    threads = max(by_threads, key=by_threads.__getitem__)
    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    with open_machine(cpu) as single:
        float32 = open_all(single, make_spec("float32"))
        float32.run(4)
        float32_memory = sum_peak_memory()
        with open_machine(cpu) as half:
            programs: dict[str, Callable[[], float]] = {
                f"plain eager loop, {threads} thread(s)": lambda: plain.run(PLAIN_STEPS),
                "saltus, float32": lambda: float32.run(2),
            }
            if multiplies_low():  # elsewhere it is some 35 times slower, and the benchmark takes ten minutes
                bfloat16 = open_all(half, make_spec("bfloat16"))
                programs["saltus, bfloat16 products"] = lambda: bfloat16.run(3)
            rates: dict[str, list[float]] = {name: [] for name in programs}
            for _ in range(ROUNDS):
                for name, run in programs.items():
                    rates[name].append(run())
            both_memory = sum_peak_memory()
    memories = (None, float32_memory, both_memory - float32_memory + peak_memory(os.getpid()))
    return [Measurement(name, values, memory) for (name, values), memory in zip(rates.items(), memories, strict=False)]


def measure_on_cuda() -> list[Measurement]:
    """16 seeds, all in one batch, on the CUDA device."""
    measured: list[Measurement] = []
    for precision in ("float32", "bfloat16"):
        with open_machine(torch.device("cuda")) as machine:
            run = open_all(machine, make_spec(precision))
            rates = [run.run(500) for _ in range(3)]
        name = "TF32" if precision == "float32" else precision
        measured.append(Measurement(f"saltus, {name} products, {torch.cuda.get_device_name()}", rates, None))
    return measured


def peak_memory(process: int) -> float:
    """The largest resident set that a process had, in GiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**20


def sum_peak_memory() -> float:
    """Over this process and its children."""
    children = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True
    ).stdout
    pids = [int(line.split()[0]) for line in children.splitlines() if "python" in line or "saltus" in line]
    return peak_memory(os.getpid()) + sum(peak_memory(pid) for pid in pids)


def tabulate(measurements: list[Measurement]) -> list[tuple[str, ...]]:
    """Name, median rate and range, ratio to the first by round, memory."""
    baseline = measurements[0].rates
    rows: list[tuple[str, ...]] = []
    for m in measurements:
        ratios = [rate / base for rate, base in zip(m.rates, baseline, strict=False)]
        rows.append(
            (
                m.name,
                f"{statistics.median(m.rates):.1f}",
                f"{min(m.rates):.1f} to {max(m.rates):.1f}",
                f"{statistics.median(ratios):.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
                "" if m.memory_gib is None else f"{m.memory_gib:.2f}",
            )
        )
    return rows


HEADER = ("program", "seed-steps/s", "range", "ratio", "range of ratio", "memory, GiB")


def describe_machine() -> str:
    """Processor, cores, versions."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.processor())
    flags = next((line.split() for line in info if line.startswith("flags")), [])
    amx = "AMX" if "amx_bf16" in flags else "no AMX"
    return (
        f"{model} ({amx}), {count_cores()} cores, {platform.system()}, Python "
        f"{platform.python_version()}, PyTorch {version('torch')}, NumPy {version('numpy')}"
    )


PREAMBLE = f"""# Speed

Generated by `.venv/bin/python benchmarks/speed.py --write` (`make bench` with writing), not by hand. Each machine has a
section, of the last time that it was measured.

- Work: linear map S=16, s=3; one layer, D=128, 8 heads, MLP 512; batch 256; whole-sequence loss; {SEEDS} seeds.
  Data are drawn inside of what is timed.
- The plain loop projects each token in the first block, as a plain model does; saltus each symbol (decision 11).
- {ROUNDS} rounds, the programs in turn; medians, ratios to the plain loop taken round by round.
- Memory is the sum of the processes' largest resident sets; what they share is counted more than once.
"""


def write_results(measurements: list[Measurement]) -> None:
    """The table of this machine, in its place among those of others."""
    lines = [
        f"Date: {date.today().isoformat()}",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + " --- |" * len(HEADER),
        *("| " + " | ".join(row) + " |" for row in tabulate(measurements)),
    ]
    if not torch.cuda.is_available():
        lines += ["", "No CUDA device was there: the CUDA figures are not measured."]
    _, *sections = RESULTS.read_text().split("\n## ")
    by_machine = dict(section.strip().split("\n\n", 1) for section in sections) | {describe_machine(): "\n".join(lines)}
    RESULTS.write_text("\n".join([PREAMBLE, *(f"## {name}\n\n{text}\n" for name, text in by_machine.items())]))


def main() -> None:
    """Measure, print, and write with --write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write results/speed.md")
    arguments = parser.parse_args()
    measurements = measure_on_cpu()
    if torch.cuda.is_available():
        measurements += measure_on_cuda()
    table = Table(*HEADER)
    for row in tabulate(measurements):
        table.add_row(*row)
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
    if arguments.write:
        write_results(measurements)


if __name__ == "__main__":
    main()
