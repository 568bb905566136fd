"""What an engine costs: 1,000 small cells on two nodes of a Ray cluster, beside the same cells here.

Run as `python benchmarks/engines.py`; with --write, results/engines.md is written, in ten minutes or so where nothing
else is at work. Both nodes are on this machine and have one core each; the engine of this machine has two processes.
The cells are trained in rounds that alternate between the two, so that a machine whose speed drifts is fair to both.
Each round has its own cells.

Three seconds are measured of each round: those on the clock for the whole call, with the start of processes and the
look at all folders before and after; of those the ones from the first cell's beginning to the last one's end; and those
of processors, of this process and all that it started, Ray's own among them. What Ray costs is by how much each is more
with Ray than here. The start of the cluster is measured apart.

That compares two engines, of which the one here may itself be slow. So the share of the cores' time is given as well in
which no core is busy with a cell, from the first one's beginning to the last one's end. A core is busy with a cell from
the moment at which its folder is described to that at which it is marked as finished: preparing, training, measuring
and writing.
"""

import argparse
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from speed import describe_machine

from saltus import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec, api
from saltus.engines.base import Engine
from saltus.train.folder import RunFolder

RESULTS = Path(__file__).parent.parent / "results" / "engines.md"
CORES = 2
HEADER = "| engine | cells | s with the start | s once begun | processor s | cores without a cell | files, KiB a cell |"
COSTS = {
    "wall": "on the clock, with the start of its workers",
    "begun": "on the clock, once begun",
    "processor": "of processors, with the start of its workers",
}
PARTS = (*COSTS, "busy")


@dataclass(frozen=True)
class Round:
    """Some cells on one engine."""

    wall: float
    """Seconds of the whole call."""
    begun: float
    """Of those from the first cell's beginning to the last one's end."""
    processor: float
    """Of processors, of all processes of this program."""
    others: float
    """Of processors, of all other programs meanwhile."""
    busy: float
    """Seconds in which a core was busy with a cell, summed over cores."""
    files: float
    """That a cell wrote."""
    size: float
    """Bytes of them."""


def make_cell(number: int, steps: int) -> RunSpec:
    """A cell of one seed; cells differ in their learning rate."""
    return RunSpec(
        name=f"cell-{number:04d}",
        task=LinearMapSpec(size=6, sparsity=1),
        model=TransformerSpec(d_model=16, heads=2),
        training=TrainingSpec(
            steps=steps,
            batch_sequences=16,
            compile=False,
            learning_rate=1e-3 * (1 + number / 1e4),
            evaluation_sequences=32,
            evaluate=ScheduleSpec(first=steps // 2, every=steps // 2),
            checkpoint=ScheduleSpec(first=steps, every=steps),
            snapshot=ScheduleSpec(first=steps, every=steps),
        ),
        seeds=1,
    )


def train(cells: list[RunSpec], engine: Engine, out: Path) -> Round:
    """Train cells in a folder of their own."""
    started, (own, everything) = time.perf_counter(), read_processors()
    folders = api.run_all(cells, out=out, engine=engine, console=Console(quiet=True))
    wall, (own_after, after) = time.perf_counter() - started, read_processors()
    processor = own_after - own
    return look([folder.path for folder in folders], wall, processor, max(0.0, after - everything - processor))


def read_processors() -> tuple[float, float]:
    """Seconds of processors so far: of this process and those that it started, which may have ended; and of all."""
    this = psutil.Process()
    own = 0.0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            own += sum(process.cpu_times()[:4])  # its own and those of its ended children, each user and system
    everything = psutil.cpu_times()
    return own, everything.user + everything.nice + everything.system


def look(folders: list[Path], wall: float, processor: float, others: float) -> Round:
    """When folders were described and finished, and what they hold."""
    spans = [[(folder / name).stat().st_mtime for name in ("spec.json", "finished.json")] for folder in folders]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return Round(
        wall,
        begun=max(end for _, end in spans) - min(start for start, _ in spans),
        processor=processor,
        others=others,
        busy=sum(end - start for start, end in spans),
        files=len(files) / len(folders),
        size=sum(path.stat().st_size for path in files) / len(folders),
    )


@contextmanager
def start_cluster() -> Generator[None, None, None]:
    """Two nodes of one core each on this machine."""
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def measure(cells: int, steps: int, rounds: int, root: Path) -> tuple[dict[str, list[Round]], float]:
    """By engine, its rounds; and the seconds in which the cluster started."""
    made = [make_cell(number, steps) for number in range(cells)]
    found: dict[str, list[Round]] = {"local": [], "ray": []}
    started = time.perf_counter()
    with (
        start_cluster(),
        api.open_engine("ray", device="cpu") as there,
        api.open_engine(device="cpu", processes=CORES, console=Console(quiet=True)) as here,
    ):
        start = time.perf_counter() - started
        engines = {"local": here, "ray": there}
        for number in range(rounds):
            own = made[number::rounds]
            for name in found if number % 2 else reversed(found):
                found[name].append(train(own, engines[name], root / f"{name}-{number}"))
                print(f"{name}: {found[name][-1]}")
        _check_equal(root, rounds)
    return found, start


def _check_equal(root: Path, rounds: int) -> None:
    """Both engines have made the same numbers."""
    for number in range(rounds):
        for folder in RunFolder.list(root / f"local-{number}"):
            other = RunFolder(root / f"ray-{number}" / folder.path.name)
            one, two = (each.records().tables["steps"].to_pandas() for each in (folder, other))
            if not one.equals(two):  # which takes two NaN for equal
                raise SystemExit(f"{folder.path.name} differs between the engines")


def write_page(found: dict[str, list[Round]], start: float, cells: int, steps: int) -> str:
    """The page of results."""
    total = {name: [sum(getattr(each, part) for each in rounds) for part in PARTS] for name, rounds in found.items()}
    others = sum(each.others for rounds in found.values() for each in rounds)
    whole = sum(each.wall for rounds in found.values() for each in rounds) * CORES
    lines = [
        "# Engines\n",
        "Generated by `.venv/bin/python benchmarks/engines.py --write`, not by hand.\n",
        f"- Machine: {describe_machine()}; other programs took {others / whole:.0%} of its processors meanwhile",
        f"- Date: {date.today().isoformat()}",
        f"- Work: {cells:,} cells of one seed and {steps} steps, of one shape; each has a folder with a checkpoint at "
        "its start and one at its end.",
        "- Local: two processes. Ray: two nodes of one core on this machine. Rounds alternate; the records of "
        "both are equal, bit by bit.",
        "- Seconds: of the whole call, with the start of processes and the look at all folders; from the first cell's "
        "beginning to the last one's end; of processors, of all processes.",
        "- Cores without a cell: the share of the cores' time, once begun, in which none is busy with a cell.",
        f"- The cluster started in {start:.0f} s, which is not part of it. Its workers start in the first round "
        "and stay; the engine of this machine starts its own in each.\n",
        HEADER,
        "|" + " --- |" * HEADER.count(" | ") + " --- |",
    ]
    for name, (wall, begun, processor, busy) in total.items():
        lines.append(
            f"| {name} | {cells:,} | {wall:,.0f} | {begun:,.0f} | {processor:,.0f} | "
            f"{1 - busy / begun / CORES:.1%} | {found[name][0].files:.0f}, {found[name][0].size / 1024:.0f} |"
        )
    lines.append("\nWhat Ray costs beside the engine of this machine; in brackets by round:\n")
    for place, (part, said) in enumerate(COSTS.items()):
        ratios = [
            getattr(there, part) / getattr(here, part) - 1
            for here, there in zip(found["local"], found["ray"], strict=True)
        ]
        whole = total["ray"][place] / total["local"][place] - 1
        lines.append(f"- {said}: {whole:+.1%} ({', '.join(f'{ratio:+.1%}' for ratio in ratios)})")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, start = measure(given.cells, given.steps, given.rounds, Path(folder))
    page = write_page(found, start, given.cells, given.steps)
    print(page)
    if given.write:
        RESULTS.write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
