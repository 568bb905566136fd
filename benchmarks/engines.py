"""What an engine costs: 1,000 small cells on two nodes of a Ray cluster, beside the same cells here.

Run as `python benchmarks/engines.py`; with --write, results/engines.md is written. Both nodes are on this machine and
have one core each; the engine of this machine has two processes. The cells are trained in rounds that alternate between
the two, so that a machine whose speed drifts is fair to both. Each round has its own cells.

What an engine costs is the share of its cores' time in which no cell trains: `1 - seconds of training / (wall seconds
of a round * cores)`, where the seconds of training are those that the runs record, from the moment at which a group of
them is prepared to its last checkpoint. It contains the start of processes, the choice of what trains next, messages,
and cores that wait at the end. The start of the cluster is measured apart.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from speed import describe_machine

from saltus import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec, api
from saltus.engines.base import Engine
from saltus.train.folder import RunFolder

RESULTS = Path(__file__).parent.parent / "results" / "engines.md"
CORES = 2
HEADER = "| engine | cells | wall s | training s of a core | cost | range of cost | files of a cell | KiB of a cell |"


@dataclass(frozen=True)
class Round:
    """Some cells on one engine."""

    wall: float
    training: float
    """Seconds of a core."""
    files: float
    """That a cell wrote."""
    size: float
    """Bytes of them."""

    @property
    def cost(self) -> float:
        """Of the cores' time, the share in which nothing was trained."""
        return 1 - self.training / (self.wall * CORES)


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
    started = time.perf_counter()
    folders = api.run_all(cells, out=out, engine=engine, console=Console(quiet=True))
    wall = time.perf_counter() - started
    training = sum(float(folder.summary()["seconds"]) for folder in folders) * engine.processes
    files = [path for folder in folders for path in folder.path.rglob("*") if path.is_file()]
    sizes = sum(path.stat().st_size for path in files)
    return Round(wall, training, len(files) / len(folders), sizes / len(folders))


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
    lines = [
        "# Engines\n",
        "Generated by `.venv/bin/python benchmarks/engines.py --write`, not by hand.\n",
        f"- Machine: {describe_machine()}; others were at work on it, alike in all rounds",
        f"- Date: {date.today().isoformat()}",
        f"- Work: {cells:,} cells of one seed and {steps} steps, of one shape; each has a folder with a checkpoint at "
        "its start and one at its end.",
        "- Local: two processes. Ray: two nodes of one core on the same machine. Rounds alternate; the records of "
        "both are equal, bit by bit.",
        "- Cost: of the cores' time, the share in which no cell trains, with the start of processes in each round.",
        f"- The cluster started in {start:.0f} s, which is not part of it.\n",
        HEADER,
        "|" + " --- |" * HEADER.count(" | ") + " --- |",
    ]
    for name, rounds in found.items():
        costs = [each.cost for each in rounds]
        lines.append(
            f"| {name} | {cells:,} | {sum(each.wall for each in rounds):,.0f} | "
            f"{sum(each.training for each in rounds):,.0f} | {statistics.median(costs):.1%} | "
            f"{min(costs):.1%} to {max(costs):.1%} | {rounds[0].files:.0f} | {rounds[0].size / 1024:.0f} |"
        )
    ratios = [there.wall / here.wall for here, there in zip(found["local"], found["ray"], strict=True)]
    lines.append(
        f"\nWall seconds with Ray for each here, round by round: {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})."
    )
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
