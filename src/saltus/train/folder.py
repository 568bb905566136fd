"""The folder of a run: a kill at any moment loses only what was trained since the last checkpoint.

NAME-HASH/
  spec.json           what is run
  task.safetensors    what is known of the task before training (truth map, chance, floor, corners)
  checkpoints/STEP/   everything since the checkpoint before: rows of the records, snapshots, the weights of each seed,
                      and (in the newest two alone) the optimiser's moments; committed by one rename
  records/            all rows and snapshots, once the run has finished
  finished.json       versions, machine, duration
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.storage.files import explain_full_disk, write_folder
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import (
    Arrays,
    read_any_table,
    read_arrays,
    read_table,
    verify,
    write_arrays,
    write_table,
)
from saltus.tasks.base import TaskFacts
from saltus.train.measures import MEASURES
from saltus.train.records import RunRecords, Snapshots, facts_from_arrays, facts_to_arrays, join_snapshots, state_rule


@dataclass(frozen=True)
class Checkpoint:
    """The newest committed state of an unfinished run."""

    step: int
    states: list[Arrays]
    """For each seed, its weights and optimiser moments."""


class RunFolder(Folder[RunSpec]):
    """One run on disk."""

    kind: ClassVar[str] = "run"
    description: ClassVar[str] = "spec.json"
    specs: ClassVar[type[RunSpec]] = RunSpec

    @contextmanager
    def training(self, spec: RunSpec, facts: TaskFacts) -> Generator[None, None, None]:
        """Hold the folder against other writers, described and with the facts of its task."""
        with self.writing(spec):
            self.restore(spec, facts)
            yield

    def restore(self, spec: RunSpec, facts: TaskFacts) -> None:
        """Require the description, and write what belongs beside it where it is gone."""
        self.require(spec)
        path = self.path / "task.safetensors"
        if not path.exists():
            arrays, notes = facts_to_arrays(facts)
            self._write(path, lambda partial: write_arrays(arrays, partial, notes))

    def checkpoint_steps(self) -> list[int]:
        """Steps of the committed checkpoints, increasing."""
        folder = self.path / "checkpoints"
        return sorted(int(p.name) for p in folder.glob("*") if _is_checkpoint(p)) if folder.exists() else []

    def commit(self, step: int, states: Sequence[Arrays], tables: Mapping[str, pa.Table], snapshots: Snapshots) -> None:
        """Save everything since the checkpoint before; afterwards a resumed run starts here."""
        older = self.checkpoint_steps()

        def write(folder: Path) -> None:
            for seed, state in enumerate(states):
                moments = {k: v for k, v in state.items() if k.startswith("exp_avg")}
                weights = {k: v for k, v in state.items() if k not in moments}
                write_arrays(weights, folder / f"seed-{seed:04d}.safetensors")
                write_arrays(moments, folder / f"moments-{seed:04d}.safetensors")
            _write_records(folder, tables, snapshots)

        with explain_full_disk(self.path):
            write_folder(self._checkpoint(step), write)
        # The checkpoint before keeps its moments: should this one be damaged, the run can go on from there.
        for old in older[:-1]:
            for path in self._checkpoint(old).glob("moments-*.safetensors"):
                path.unlink()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint; None where there is none. All that the run needs to go on is verified."""
        steps = self.checkpoint_steps()
        if not steps:
            return None
        for step in steps:
            verify(self._checkpoint(step), self.damaged, skip=() if step == steps[-1] else ("moments-", "seed-"))
        folder = self._checkpoint(steps[-1])
        weights = sorted(folder.glob("seed-*.safetensors"))
        moments = sorted(folder.glob("moments-*.safetensors"))
        states = [
            read_arrays(w, self.damaged)[0] | read_arrays(m, self.damaged)[0]
            for w, m in zip(weights, moments, strict=True)
        ]
        return Checkpoint(steps[-1], states)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Gather the checkpoints' rows into `records/` and mark the run as done."""
        super().finish(summary)
        for path in self.path.glob("checkpoints/*/moments-*.safetensors"):
            path.unlink()

    def gather(self, folder: Path) -> None:
        """Fill `records/` from the checkpoints."""
        tables, snapshots = self._read(self._list_parts())
        _write_records(folder, tables, snapshots)

    def records(self) -> RunRecords:
        """All rows and snapshots: of a finished run, or of what an unfinished one has committed."""
        tables, snapshots = self._read([self.path / "records"] if self.gathered else self._list_parts())
        summary = self.summary() if self.finished else None
        spec = self.spec()
        return RunRecords(self.path, spec, self._facts(), tables, snapshots, summary, state_rule(spec))

    def weights(self, step: int, seed: int) -> Arrays:
        """The weights of one seed at a checkpoint.

        Raises:
            SaltusError: if the step has no checkpoint, or the run no such seed.

        """
        folder, steps = self._checkpoint(step), self.checkpoint_steps()
        if step not in steps:
            kept = ", ".join(f"{each:,}" for each in steps) or "no step"
            raise SaltusError(f"step: {step} was given; {self.path} has the weights of {kept}, and of no other step")
        path = folder / f"seed-{seed:04d}.safetensors"
        if not path.exists() and seed not in range(seeds := self.spec().seeds):
            raise SaltusError(f"seed: {seed} was given; {self.path} has the seeds 0 to {seeds - 1}")
        return read_arrays(path, self.damaged)[0]

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; rows are also in the checkpoints, and facts follow from the description."""
        parts = path.relative_to(self.path).parts
        if parts[0] == "records" and not self.checkpoint_steps():
            return f"bring it back from where the records were copied from, or delete {self.path} {AGAIN}"
        if parts[0] == "task.safetensors":
            return f"delete it {AGAIN}: it is written anew, and everything else is kept"
        if parts[0] != "checkpoints":
            return super().remedy(path)
        steps = self.checkpoint_steps()
        step = int(parts[1])
        if path.name.startswith("seed-") and (self.finished or step != steps[-1]):
            return f"the weights of seed {int(path.stem.removeprefix('seed-'))} at this step are lost, and nothing else"
        before = steps[-2] if len(steps) > 1 else None
        if step == steps[-1] and before is not None and any(self._checkpoint(before).glob("moments-*")):
            return f"delete {path.parent} and run the same command again: it resumes from step {before}"
        if self.gathered:
            return "its rows are in records/ too, and nothing else is lost"
        return f"move {self.path} away and run the same command again: it starts anew, and what is whole stays readable"

    def _checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"{step:08d}"

    def _facts(self) -> TaskFacts:
        path = self.path / "task.safetensors"
        arrays, notes = read_arrays(path, self.damaged)
        try:
            return facts_from_arrays(arrays, notes)
        except (KeyError, TypeError, ValueError) as error:
            raise self.damaged(path, f"cannot be read ({error!r})") from None

    def _list_parts(self) -> list[Path]:
        parts = [self._checkpoint(step) for step in self.checkpoint_steps()]
        if not parts:
            raise SaltusError(f"{self.path} has no checkpoint yet; run it for longer")
        return parts

    def _read(self, parts: Sequence[Path]) -> tuple[dict[str, pa.Table], Snapshots]:
        for part in parts:
            verify(part, self.damaged, skip=("moments-", "seed-"))
        tables = {
            measure.name: pa.concat_tables(
                [read_table(p / f"{measure.name}.parquet", measure.schema, self.damaged, measure.later) for p in parts]
            )
            for measure in MEASURES
        }
        own = sorted({path.stem for part in parts for path in part.glob("*.parquet")} - tables.keys())
        for name in own:  # of measures of the user's own, which a resumed run may not have had from the start
            there = [path for part in parts if (path := part / f"{name}.parquet").exists()]
            tables[name] = pa.concat_tables([read_any_table(path, self.damaged) for path in there])
        arrays = [read_arrays(part / "patterns.safetensors", self.damaged)[0] for part in parts]
        return tables, join_snapshots([Snapshots.from_arrays(each) for each in arrays])

    @classmethod
    def of(cls, root: Path, spec: RunSpec) -> Self:
        """The folder of a run under `root`, which need not exist; see `Folder.find`."""
        return cls.find(root, spec, spec.name)


def _write_records(folder: Path, tables: Mapping[str, pa.Table], snapshots: Snapshots) -> None:
    for name, table in tables.items():
        write_table(table, folder / f"{name}.parquet")
    write_arrays(snapshots.to_arrays(), folder / "patterns.safetensors")


def _is_checkpoint(path: Path) -> bool:
    """Whether a folder is one that `commit` makes; a copy with another name is none."""
    return path.name.isascii() and path.name.isdigit() and path.name == f"{int(path.name):08d}"
