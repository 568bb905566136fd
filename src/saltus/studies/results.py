"""The results of a study: for each of its cells the records of the largest scale at which it has been run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from saltus.curves import Emergences, Rule
from saltus.errors import SaltusError
from saltus.measure.outcomes import count_learned
from saltus.specs import RunSpec
from saltus.studies.study import Cell, Study, Value
from saltus.train.archive import Archive
from saltus.train.folder import RunFolder
from saltus.train.records import RunRecords


class Source(Protocol):
    """Where records are found by the description of their run."""

    def find(self, spec: RunSpec) -> RunRecords | None:
        """The records of a finished run, under the name and the rule of `spec`; None if it is not there."""
        ...


class RunFolders:
    """The run folders under a path."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, spec: RunSpec) -> RunRecords | None:
        """As `Source.find`."""
        folder = RunFolder.of(self._root, spec)
        if not folder.finished:
            return None
        folder.require(spec)
        return folder.records().of(spec)


def open_source(root: Path) -> Source:
    """The archive at a path, or the run folders under it."""
    return Archive(root) if any(root.glob("*/runs.parquet")) else RunFolders(root)


@dataclass(frozen=True)
class Result:
    """What one cell gave."""

    cell: Cell
    records: RunRecords
    scale: str
    """The scale at which the cell was run."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.cell.name

    def __getitem__(self, key: str) -> Value:
        """The value of a key of the cell."""
        return self.cell.key[key]

    @property
    def budget(self) -> int:
        """Steps that the run could take."""
        return self.cell.run.training.steps

    @cached_property
    def units(self) -> Emergences:
        """When each unit of each seed emerged."""
        return self.records.curves.parts.emergences()

    @cached_property
    def tasks(self) -> Emergences:
        """When the whole task of each seed emerged."""
        return self.records.curves.wholes.emergences()

    @property
    def learned(self) -> NDArray[np.int64]:
        """[seed] units that emerged and were not lost again."""
        return count_learned(self.units)

    @property
    def final_loss(self) -> NDArray[np.float64]:
        """[seed] mean training loss, in nats, between the last two evaluations."""
        return self.records.cube("steps", "train_loss")[:, -1]

    def passings(self, level: float, column: str = "train_loss") -> list[int | None]:
        """[seed] the first evaluated step with a training loss below `level`, in nats; None within the budget.

        The loss is the mean over the steps between two evaluations. With the paper's level of 1.3 on cellular automata
        it is the end of the plateau. The column `lowest_train_loss` has the cheapest single batch between two
        evaluations, which may be below by luck.
        """
        return [passing.by for passing in self.records.curves_of(column, Rule(below=level)).emergences()]


class Results(Sequence[Result]):
    """The cells of a study that have been run, in the order of the study."""

    def __init__(self, found: Sequence[Result], planned: Sequence[Cell] = ()) -> None:
        self._found = list(found)
        self.planned = list(planned)
        """All cells that are known, run or not."""

    def __getitem__(self, place: int) -> Result:  # pyright: ignore[reportIncompatibleMethodOverride]  # no slices
        return self._found[place]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def where(self, **key: Value) -> "Results":
        """The results whose cell has these values under these keys.

        Raises:
            SaltusError: if no cell of the study has one of the keys.

        """
        known = dict.fromkeys(name for cell in self.planned for name in cell.key)
        if known and (unknown := [name for name in key if name not in known]):
            raise SaltusError(f"results: no cell has the key {unknown[0]!r}; the keys are {', '.join(known)}")
        return Results([r for r in self if r.cell.fits(key)], [c for c in self.planned if c.fits(key)])

    def having(self, *names: str) -> "Results":
        """The results whose cell has all of these keys."""
        found = [r for r in self if set(names) <= r.cell.key.keys()]
        return Results(found, [c for c in self.planned if set(names) <= c.key.keys()])

    def get(self, **key: Value) -> Result | None:
        """The one result whose cell has these values under these keys; None if it has not been run."""
        found = self.where(**key)
        if len(found) > 1:
            names = ", ".join(result.name for result in found)
            raise SaltusError(f"results: {dict(key)} fits more than one cell: {names}; give more of the keys")
        return found[0] if found else None

    def by(self, name: str) -> dict[Value, Result]:
        """The results that have a key, by its value; values must differ."""
        found = [result for result in self if name in result.cell.key]
        chosen = {result[name]: result for result in found}
        if len(chosen) < len(found):
            raise SaltusError(f"results: several cells have the same {name}; choose among them with where()")
        return chosen


Change = Callable[[Cell], Cell]
"""What `--seeds` and `--steps` do to a cell."""


def change_cells(*, seeds: int | None = None, steps: int | None = None) -> Change:
    """Cells with another number of seeds or steps."""
    return lambda cell: cell.change(seeds=seeds, steps=steps)


def read_results(study: Study, source: Source, change: Change = lambda cell: cell) -> Results:
    """The results of a study, as far as they are in a source."""
    found: dict[str, Result] = {}
    planned: dict[str, Cell] = {}
    for scale in study.scales:
        for cell in list_cells(study, scale, source, change):
            records = source.find(cell.run)
            if records is not None:
                found.setdefault(cell.name, Result(cell, records, scale))
            if scale == "full" or records is not None:
                planned.setdefault(cell.name, cell)
    order = list(planned)
    return Results(sorted(found.values(), key=lambda result: order.index(result.name)), list(planned.values()))


def list_cells(study: Study, scale: str, source: Source, change: Change = lambda cell: cell) -> list[Cell]:
    """The cells of a study at a scale, and the cells that follow from the results in a source."""
    first = [change(cell) for cell in study.at(scale)]
    if study.follow is None:
        return first
    there = ((cell, source.find(cell.run)) for cell in first)
    results = Results([Result(cell, records, scale) for cell, records in there if records is not None])
    return first + [change(cell) for cell in study.following(results, scale)]


KEPT = ("steps", "units")
"""The tables that figures of many cells need."""


def slim(cell: Cell, records: RunRecords) -> RunRecords:
    """The records of a cell as they are kept: without what is measured by position and by head, unless it asks for it.

    Of the influence the last snapshot is kept, by which the gate judges.
    """
    wanted = {*KEPT, *(measure for measure in records.tables if measure not in ("positions", "heads"))}
    if cell.patterns:
        wanted.add("heads")
    snapshots = records.snapshots if cell.patterns else records.snapshots.last_influence()
    return records.select({name: records.tables[name] for name in wanted}, snapshots)


def keep(study: Study, source: Source, archive: Archive, change: Change = lambda cell: cell) -> tuple[list[Path], int]:
    """Add the finished cells of a study to an archive; the new packs, and how many runs they hold."""
    new: dict[str, RunRecords] = {}
    for scale in study.scales:
        for cell in list_cells(study, scale, source, change):
            if cell.run not in archive and (records := source.find(cell.run)) is not None:
                new.setdefault(cell.run.content_hash, slim(cell, records))
    return archive.add(study.name, new.values()), len(new)
