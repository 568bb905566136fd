"""The run folder: what is written appears whole or not at all, and a kill at any moment loses only unsaved work.

NAME-HASH/
  spec.json           what is run
  task.safetensors    what is known of the task before training (truth map, chance, floor, corners)
  checkpoints/STEP/   everything since the checkpoint before: rows of the records, pattern snapshots, the weights
                      of each seed, and (in the newest alone) the optimiser's moments; committed by one rename
  records/            all rows and snapshots, once the run has finished
  finished.json       versions, machine, duration; its presence says that the run is done
"""

import json
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.storage.files import explain_full_disk, hold, list_hashes, remove, write_file, write_folder
from saltus.storage.tables import read_json, read_table, verify
from saltus.tasks.base import TaskFacts
from saltus.train.records import ADDED, TABLES, Patterns, RunRecords, facts_from_arrays, facts_to_arrays, join_patterns

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """The newest committed state of an unfinished run."""

    step: int
    states: list[Arrays]
    """For each seed, its weights and optimiser moments."""


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def finished(self) -> bool:
        """Whether the run is done; a finished run is never written to again."""
        return (self.path / "finished.json").exists()

    def spec(self) -> RunSpec:
        """The description that the run was started from."""
        path = self.path / "spec.json"
        values = read_json(path, _damaged)
        try:
            return RunSpec(**values)
        except SaltusError as error:
            raise _damaged(path, f"describes no run ({error})") from None

    def require(self, spec: RunSpec) -> None:
        """Refuse to go on if the run was started from another description than `spec`, whatever its name."""
        if self.spec().model_copy(update={"name": spec.name}) != spec:
            raise SaltusError(
                f"{self.path / 'spec.json'} does not describe the run {spec.run_id} that was asked for; "
                f"undo what was changed in it, or move {self.path} away, and run the same command again"
            )

    @contextmanager
    def writing(self, spec: RunSpec, facts: TaskFacts) -> Generator[None, None, None]:
        """Create the folder if it is not there and hold it against other writers."""
        with hold(self.path):
            if self.finished:
                raise SaltusError(f"{self.path} has just been finished by another process; run the same command again")
            for leftover in [*self.path.glob("*.partial"), *self.path.glob("checkpoints/*.partial")]:
                remove(leftover)
            if (self.path / "spec.json").exists():
                self.require(spec)
            else:
                self._describe(spec, facts)
            yield

    def _describe(self, spec: RunSpec, facts: TaskFacts) -> None:
        arrays, text = facts_to_arrays(facts)
        content = json.dumps(spec.model_dump(mode="json"), indent=2)
        with explain_full_disk(self.path):
            write_file(self.path / "task.safetensors", lambda path: save_file(_contiguous(arrays), path, metadata=text))
            write_file(self.path / "spec.json", lambda path: path.write_text(content + "\n"))

    def checkpoint_steps(self) -> list[int]:
        """Steps of the committed checkpoints, increasing."""
        folder = self.path / "checkpoints"
        return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit()) if folder.exists() else []

    def commit(self, step: int, states: Sequence[Arrays], tables: dict[str, pa.Table], patterns: Patterns) -> None:
        """Save everything since the checkpoint before; afterwards a resumed run starts here."""
        older = self.checkpoint_steps()

        def write(folder: Path) -> None:
            for seed, state in enumerate(states):
                moments = {k: v for k, v in state.items() if k.startswith("exp_avg")}
                weights = {k: v for k, v in state.items() if k not in moments}
                save_file(_contiguous(weights), folder / f"seed-{seed:04d}.safetensors")
                save_file(_contiguous(moments), folder / f"moments-{seed:04d}.safetensors")
            _write_records(folder, tables, patterns)

        with explain_full_disk(self.path):
            write_folder(self._checkpoint(step), write)
        # The checkpoint before keeps its moments: should this one be damaged, the run can go on from there.
        for old in older[:-1]:
            for path in self._checkpoint(old).glob("moments-*.safetensors"):
                path.unlink()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, verified; None where there is none."""
        steps = self.checkpoint_steps()
        if not steps:
            return None
        for step in steps:
            verify(self._checkpoint(step), _damaged, skip=() if step == steps[-1] else ("moments-",))
        folder = self._checkpoint(steps[-1])
        weights = sorted(folder.glob("seed-*.safetensors"))
        moments = sorted(folder.glob("moments-*.safetensors"))
        states = [_read_arrays(w)[0] | _read_arrays(m)[0] for w, m in zip(weights, moments, strict=True)]
        return Checkpoint(steps[-1], states)

    def finish(self, summary: dict[str, Any]) -> None:
        """Gather the parts into `records/` and mark the run as done."""
        with explain_full_disk(self.path):
            if not (self.path / "records").exists():
                records = self._gather()
                tables = {name: getattr(records, name) for name in TABLES}
                write_folder(self.path / "records", lambda folder: _write_records(folder, tables, records.patterns))
            content = json.dumps(summary, indent=2)
            write_file(self.path / "finished.json", lambda path: path.write_text(content + "\n"))
        for path in self.path.glob("checkpoints/*/moments-*.safetensors"):
            path.unlink()

    def copy_records(self, to: Path, tables: dict[str, pa.Table], patterns: Patterns) -> None:
        """Make a finished run of this one's description with `tables` and `patterns`, and no checkpoints."""

        def write(folder: Path) -> None:
            for name in ("spec.json", "task.safetensors", "finished.json"):
                shutil.copyfile(self.path / name, folder / name)
            (folder / "records").mkdir()
            _write_records(folder / "records", tables, patterns)
            list_hashes(folder / "records")

        with explain_full_disk(to):
            write_folder(to, write)

    def records(self) -> RunRecords:
        """All rows and snapshots: of a finished run, or of what an unfinished one has committed."""
        if not (self.path / "records").exists():
            return self._gather()
        return self._read([self.path / "records"])

    def weights(self, step: int, seed: int) -> Arrays:
        """The weights of one seed at a checkpoint."""
        return _read_arrays(self._checkpoint(step) / f"seed-{seed:04d}.safetensors")[0]

    def summary(self) -> dict[str, Any]:
        """What `finish` was given: versions, machine, duration."""
        return read_json(self.path / "finished.json", _damaged)

    def _checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"{step:08d}"

    def _facts(self) -> TaskFacts:
        path = self.path / "task.safetensors"
        arrays, text = _read_arrays(path)
        try:
            return facts_from_arrays(arrays, text)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, f"cannot be read ({error!r})") from None

    def _gather(self) -> RunRecords:
        parts = [self._checkpoint(step) for step in self.checkpoint_steps()]
        if not parts:
            raise SaltusError(f"{self.path} has no checkpoint yet; run it for longer")
        return self._read(parts)

    def _read(self, parts: Sequence[Path]) -> RunRecords:
        for part in parts:
            verify(part, _damaged, skip=("moments-", "seed-"))
        facts = self._facts()
        tables = {
            name: pa.concat_tables(
                [read_table(p / f"{name}.parquet", schema, _damaged, ADDED.get(name, ())) for p in parts]
            )
            for name, schema in TABLES.items()
        }
        patterns = join_patterns([Patterns(**_read_arrays(part / "patterns.safetensors")[0]) for part in parts])
        return RunRecords(self.path, self.spec(), facts, self.finished, **tables, patterns=patterns)


def find_run(root: Path, spec: RunSpec) -> RunFolder:
    """The folder of a run under `root`, which need not exist.

    Where it does not, and the same run has been finished under another name, such as by another study, it is that one.
    """
    own = RunFolder(root / spec.run_id)
    others = [] if own.path.exists() else [RunFolder(path) for path in sorted(root.glob(f"*-{spec.content_hash}"))]
    return next((other for other in others if other.finished), own)


def list_runs(root: Path) -> list[RunFolder]:
    """The runs under `root`, by name."""
    return [RunFolder(path.parent) for path in sorted(root.glob("*/spec.json"))]


def _write_records(folder: Path, tables: dict[str, pa.Table], patterns: Patterns) -> None:
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    arrays = {field.name: getattr(patterns, field.name) for field in fields(Patterns)}
    save_file(_contiguous(arrays), folder / "patterns.safetensors")


def _damaged(path: Path, what: str) -> SaltusError:
    """What is wrong with a file of a run, and the cheapest way out."""
    folder, again = path.parent, "and run the same command again"
    if folder.name == "records":
        remedy = f"delete {folder}: the records are then gathered from the checkpoints"
    elif folder.parent.name == "checkpoints":
        run = RunFolder(folder.parent.parent)
        before = [step for step in run.checkpoint_steps() if step < int(folder.name)]
        if before and any(run.path.glob(f"checkpoints/{before[-1]:08d}/moments-*")):
            remedy = f"delete {folder} and every later checkpoint {again}: it resumes from the one before"
        else:
            remedy = f"delete {run.path} {again}: it starts anew"
    elif path.name != "finished.json" and not RunFolder(folder).finished:
        remedy = f"delete {folder / 'spec.json'} {again}: what it was is written anew, and the run resumes"
    else:
        remedy = f"delete {folder} {again}: it starts anew"
    return SaltusError(f"{path} {what}; {remedy}")


def _read_arrays(path: Path) -> tuple[Arrays, dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            # not a mapping: it can only be asked for its keys
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, f"cannot be read ({error})") from None


def _contiguous(arrays: Arrays) -> Arrays:
    return {key: np.ascontiguousarray(value) for key, value in arrays.items()}
