"""The folder of a run: a kill at any moment loses only what was trained since the last checkpoint.

NAME-HASH/
  spec.json           what is run; of seeds and steps the first that were asked for
  task.safetensors    what is known of the task before training (truth map, chance, floor, corners)
  checkpoints/STEP/   everything since the checkpoint before: rows of the records, snapshots, the weights of each seed,
                      and (in the newest two of a seed alone) the optimiser's moments; committed by one rename
  checkpoints/STEP-SEED/
                      the same of seeds that were at this step at another time than seed 0, of which SEED is the first
  records/            all rows and snapshots, once the run has finished
  finished.json       versions, machine, duration; how far each seed was asked to go

Seeds are independent, so a run takes more of them, and more steps, whenever they are asked for. What is finished stays
readable meanwhile. A seed that has stopped by itself has no moments in its newest checkpoint.
"""

import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.storage.files import HeldError, explain_full_disk, replace_folder, write_folder
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.listing import Listing
from saltus.storage.tables import (
    Arrays,
    read_any_table,
    read_arrays,
    read_json,
    read_table,
    verify,
    write_arrays,
    write_table,
)
from saltus.tasks.base import TaskFacts
from saltus.train.measures import KEY, MEASURES, Measure
from saltus.train.records import (
    RunRecords,
    SnapshotRows,
    add_lacking,
    facts_from_arrays,
    facts_to_arrays,
    join_snapshots,
    state_rule,
)
from saltus.train.state import split_state

_CHECKPOINT = re.compile(r"([0-9]{8}|[1-9][0-9]{8})(-[0-9]{4})?")
"""The name of a folder that `commit` makes; a copy with another name is none."""

_WEIGHTS = ("seed", "moments")
"""Kinds of files that a checkpoint has for each seed."""


@dataclass(frozen=True)
class Checkpoint:
    """The newest checkpoint of a seed."""

    path: Path
    step: int
    stopped: bool
    """Whether the seed has stopped by itself, and goes no further."""


class RunFolder(Folder[RunSpec]):
    """One run on disk."""

    kind: ClassVar[str] = "run"
    description: ClassVar[str] = "spec.json"
    specs: ClassVar[type[RunSpec]] = RunSpec

    @contextmanager
    def training(self, spec: RunSpec, facts: TaskFacts) -> Generator[None, None, None]:
        """Hold the folder against other writers, described and with the facts of its task."""
        with self.writing(spec, again=True):
            if self.covers(spec):
                raise HeldError(f"{self.path} has just been finished by another process; run the same command again")
            self.restore(spec, facts)
            yield

    def check_measures(self, own: Iterable[Measure]) -> None:
        """Raise a SaltusError if an own measure has other columns than what was recorded under its name."""
        parts = [self.path / "records"] if self.gathered else self._list_checkpoints()
        for measure in own:
            kept = next((path for part in parts if (path := part / f"{measure.name}.parquet").exists()), None)
            if kept and not (schema := read_any_table(kept, self.damaged).schema).equals(measure.schema):
                given, there = (_describe_columns(each) for each in (measure.schema, schema))
                raise SaltusError(
                    f"measure {measure.name!r} has {given}, and {self.path} has recorded {there} under that name; give "
                    "the measure another name, or its former columns"
                )

    def list_lacking(self, own: Iterable[Measure]) -> list[str]:
        """The names of own measures that a finished run has not recorded."""
        return [each.name for each in own if not (self.path / "records" / f"{each.name}.parquet").exists()]

    def restore(self, spec: RunSpec, facts: TaskFacts) -> None:
        """Require the description, and write what belongs beside it where it is gone."""
        self.require(spec)
        path = self.path / "task.safetensors"
        if not path.exists():
            arrays, notes = facts_to_arrays(facts)
            self._write(path, lambda partial: write_arrays(arrays, partial, notes))

    def spec(self) -> RunSpec:
        """The description that it was started from, with the seeds and steps that it has been finished for."""
        spec = super().spec()
        asked = self.asked()
        return spec.with_overrides(seeds=len(asked), steps=max(asked)) if asked else spec

    def covers(self, spec: RunSpec) -> bool:
        """Whether it has been finished for these seeds and steps, or more."""
        asked = self.asked() if self.finished else []
        return len(asked) >= spec.seeds and min(asked[: spec.seeds]) >= spec.training.steps

    def asked(self) -> list[int]:
        """[seed] for how many steps it has been finished; a seed may have stopped by itself before. None at first."""
        if not (self.finished or self.gathered):
            return []
        given: Any = self.summary().get("asked") if self.finished else None
        if given is None:  # versions before took neither more seeds nor more steps
            described = super().spec()
            return [described.training.steps] * described.seeds
        if not isinstance(given, list) or not given or not all(isinstance(s, int) and s > 0 for s in given):  # pyright: ignore[reportUnknownVariableType]  # anybody's file
            raise self.damaged(self.path / "finished.json", "does not say for how many steps each seed was asked")
        return given  # pyright: ignore[reportUnknownVariableType]

    def summary(self) -> dict[str, Any]:
        """As `Folder.summary`, with numbers where times and speeds are worked out from it."""
        summary = super().summary()
        for name in ("last_step", "seed_steps", "seconds", "processes"):
            value, numbers = summary.get(name), int | float if name == "seconds" else int
            if value is not None and not (isinstance(value, numbers) and 0 <= value < 2**63):
                raise self.damaged(self.path / "finished.json", f"has {value!r:.60} as {name}, a number")
        return summary

    def ask(self, spec: RunSpec) -> list[int]:
        """What `asked` says once it is finished for these seeds and steps too."""
        asked = self.asked()
        asked += [0] * (spec.seeds - len(asked))
        return [max(steps, spec.training.steps) if seed < spec.seeds else steps for seed, steps in enumerate(asked)]

    def checkpoint_steps(self, seed: int | None = None) -> list[int]:
        """Steps of the committed checkpoints, of all seeds or of one, increasing."""
        kept = self._list_checkpoints()
        return sorted({_step_of(path) for path in kept if seed is None or seed in self._list_seeds(path)})

    def commit(
        self, step: int, states: Mapping[int, Arrays], tables: Mapping[str, pa.Table], snapshots: SnapshotRows
    ) -> None:
        """Save everything that some seeds did since their checkpoints before; afterwards they go on from here.

        `states` is by seed; one without moments has stopped by itself.
        """

        def write(folder: Path) -> None:
            for seed, state in states.items():
                weights, moments = split_state(state)
                write_arrays(weights, folder / _name("seed", seed))
                if moments:
                    write_arrays(moments, folder / _name("moments", seed))
            _write_records(folder, tables, snapshots)

        first = min(states)
        with explain_full_disk(self.path):
            write_folder(self.path / "checkpoints" / (f"{step:08d}" + (f"-{first:04d}" if first else "")), write)
        # The checkpoint before keeps its moments: should this one be damaged, the seeds can go on from there.
        self._drop_moments(keep=2)

    def newest(self) -> dict[int, Checkpoint]:
        """The newest checkpoint of each seed."""
        found: dict[int, Checkpoint] = {}
        for path in self._list_checkpoints():
            seeds = self._list_seeds(path)
            found |= {seed: Checkpoint(path, _step_of(path), stopped) for seed, stopped in seeds.items()}
        return found

    def load(self, seeds: Iterable[int]) -> dict[int, Arrays]:
        """By seed, weights and moments of its newest checkpoint. All that these seeds need to go on is verified."""
        newest = {seed: checkpoint.path for seed, checkpoint in self.newest().items() if seed in set(seeds)}
        for path in self._list_checkpoints():
            others = self._list_seeds(path).keys() - {seed for seed, own in newest.items() if own == path}
            skip = tuple(_name(kind, seed) for kind in _WEIGHTS for seed in others)
            verify(path, self.damaged, skip=skip)
        return {
            seed: {k: v for kind in _WEIGHTS for k, v in read_arrays(path / _name(kind, seed), self.damaged)[0].items()}
            for seed, path in newest.items()
        }

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Gather the checkpoints' rows into `records/` and mark the run as done.

        The newest moments stay, with which the run can go on once more steps are asked for.
        """
        super().finish(summary)
        self._drop_moments(keep=1)

    def conclude(self) -> None:
        """As `Folder.conclude`; what was finished before was so for fewer seeds or steps, and is gathered anew."""
        if self.finished or not self.gathered:
            replace_folder(self.path / "records", self.gather)

    def gather(self, folder: Path) -> None:
        """Fill `records/` from the checkpoints, and from what was gathered of those that are gone."""
        tables, snapshots = self._read(self._list_parts())
        if self.gathered:
            tables, snapshots = add_lacking((tables, snapshots), self._read([self.path / "records"]))
        _write_records(folder, tables, snapshots)

    def records(self) -> RunRecords:
        """All rows and snapshots: of a finished run, or of what an unfinished one has committed."""
        parts = [self.path / "records"] if self.gathered else self._list_parts()
        return self._read_records(parts, self.spec())

    def committed(self, spec: RunSpec) -> RunRecords:
        """What the checkpoints have of these seeds and steps, whether or not it has been asked for before."""
        return self._read_records(self._list_parts(), spec)

    def weights(self, step: int, seed: int) -> Arrays:
        """The weights of one seed at a checkpoint.

        Raises:
            SaltusError: if the step has no checkpoint, or the run no such seed.

        """
        steps = self.checkpoint_steps(seed)
        if not steps and seed not in range(seeds := self.spec().seeds):
            raise SaltusError(f"seed: {seed} was given; {self.path} has the seeds 0 to {seeds - 1}")
        if step not in steps:
            kept = ", ".join(f"{each:,}" for each in steps) or "no step"
            raise SaltusError(f"step: {step} was given; {self.path} has the weights of {kept}, and of no other step")
        at_step = [path for path in self._list_checkpoints() if _step_of(path) == step]
        path = next(path for path in at_step if seed in self._list_seeds(path)) / _name("seed", seed)
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
        here = self.path / "checkpoints" / parts[1]
        kept = self._list_checkpoints()
        seeds, place = _seeds_in(here), kept.index(here)
        newest = not any(_seeds_in(each) & seeds for each in kept[place + 1 :])
        if path.name.startswith("seed-") and (self.finished or not newest):
            return f"the weights of seed {_seed_of(path)} at this step are lost, and nothing else"
        before = [each for each in kept[:place] if all((each / _name("moments", seed)).exists() for seed in seeds)]
        if newest and before:
            return f"delete {path.parent} and run the same command again: it resumes from step {_step_of(before[-1])}"
        if self.gathered:
            return f"delete {here}: its rows are in records/ too, and its weights are lost, and nothing else"
        return f"move {self.path} away and run the same command again: it starts anew, and what is whole stays readable"

    def _list_checkpoints(self) -> list[Path]:
        """Those that were committed, by step."""
        paths = (path for path in (self.path / "checkpoints").glob("*") if _CHECKPOINT.fullmatch(path.name))
        return sorted(paths, key=lambda path: (_step_of(path), path.name))

    def _list_seeds(self, checkpoint: Path) -> dict[int, bool]:
        """The seeds that a checkpoint was made of, and whether each had stopped by itself."""
        listed = read_json(checkpoint / "manifest.json", self.damaged)
        weights = [_seed_of(Path(name)) for name in listed if name.startswith("seed-")]
        return {seed: _name("moments", seed) not in listed for seed in weights}

    def _drop_moments(self, keep: int) -> None:
        """Delete all but the newest moments of each seed."""
        by_seed: dict[str, list[Path]] = {}
        for path in sorted((self.path / "checkpoints").glob("*/moments-*.safetensors")):
            by_seed.setdefault(path.name, []).append(path)
        for paths in by_seed.values():
            for path in paths[:-keep]:
                path.unlink()

    def facts(self) -> TaskFacts:
        """What is known of its task before training."""
        path = self.path / "task.safetensors"
        arrays, notes = read_arrays(path, self.damaged)
        try:
            return facts_from_arrays(arrays, notes)
        except (KeyError, TypeError, ValueError) as error:
            raise self.damaged(path, f"cannot be read ({error!r})") from None

    def _list_parts(self) -> list[Path]:
        parts = self._list_checkpoints()
        if not parts:
            raise SaltusError(f"{self.path} has no checkpoint yet; run it for longer")
        return parts

    def _read_records(self, parts: Sequence[Path], spec: RunSpec) -> RunRecords:
        tables, kept = self._read(parts)
        summary = self.summary() if self.finished else None
        return RunRecords(self.path, spec, self.facts(), tables, kept, summary, state_rule(spec)).of(spec)

    def _read(self, parts: Sequence[Path]) -> tuple[dict[str, pa.Table], SnapshotRows]:
        for part in parts:
            verify(part, self.damaged, skip=_WEIGHTS)
        tables = {
            measure.name: pa.concat_tables(
                [read_table(p / f"{measure.name}.parquet", measure.schema, self.damaged, measure.later) for p in parts]
            )
            for measure in MEASURES
        }
        own = sorted({path.stem for part in parts for path in part.glob("*.parquet")} - tables.keys())
        for name in own:  # of measures of the user's own, which a resumed run may not have had from the start
            first, *others = [path for part in parts if (path := part / f"{name}.parquet").exists()]
            table = read_any_table(first, self.damaged)
            others = [read_table(path, table.schema, self.damaged) for path in others]
            tables[name] = pa.concat_tables([table, *others])
        if len(parts) > 1:  # whenever the seeds were trained
            tables = {
                name: table.sort_by([("step", "ascending"), ("seed", "ascending")]) for name, table in tables.items()
            }
        arrays = [read_arrays(part / "patterns.safetensors", self.damaged)[0] for part in parts]
        return tables, join_snapshots([SnapshotRows.from_arrays(each) for each in arrays])

    @classmethod
    def of(cls, root: Path, spec: RunSpec, listing: Listing | None = None) -> Self:
        """The folder of a run under `root`, which need not exist; see `Folder.find`.

        One that a version before has finished for fewer seeds is found by its name, and takes more.
        """
        listing = listing or Listing(root)
        found = cls.find(root, spec, spec.name, listing)
        if found.path.exists():
            return found
        return cls._find_finished(listing, spec, lambda there: spec.with_overrides(seeds=there.seeds)) or found

    @classmethod
    def of_all(cls, root: Path, specs: Iterable[RunSpec]) -> list[Self]:
        """The folder of each run under `root`, which is listed once."""
        listing = Listing(root)
        return [cls.of(root, spec, listing) for spec in specs]

    @classmethod
    def find_shorter(cls, listing: Listing, spec: RunSpec) -> Self | None:
        """A folder of that name in which the same run has been finished for fewer steps."""
        return cls._find_finished(
            listing, spec, lambda there: spec.with_overrides(seeds=there.seeds, steps=there.training.steps)
        )

    @classmethod
    def _find_finished(cls, listing: Listing, spec: RunSpec, change: Callable[[RunSpec], RunSpec]) -> Self | None:
        """The first finished folder of the name of `spec` whose run is what `change` makes of `spec`."""
        for folder in map(cls, listing.named(spec.name)):
            if not (folder.finished and (folder.path / cls.description).exists()):
                continue
            there = folder.spec()
            if there.content_hash == change(there).content_hash:
                return folder
        return None


def _write_records(folder: Path, tables: Mapping[str, pa.Table], snapshots: SnapshotRows) -> None:
    for name, table in tables.items():
        write_table(table, folder / f"{name}.parquet")
    write_arrays(snapshots.to_arrays(), folder / "patterns.safetensors")


def _describe_columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema if field.name not in KEY)


def _name(kind: str, seed: int) -> str:
    return f"{kind}-{seed:04d}.safetensors"


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[0])


def _seed_of(weights: Path) -> int:
    return int(weights.stem.partition("-")[2])


def _seeds_in(checkpoint: Path) -> set[int]:
    """The seeds that a checkpoint has files of, one of which may be gone."""
    return {_seed_of(path) for kind in _WEIGHTS for path in checkpoint.glob(f"{kind}-*.safetensors")}
