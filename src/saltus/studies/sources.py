"""Where the results of a study come from: run folders or an archive; and what is kept of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from saltus.specs import RunSpec
from saltus.studies.cells import Cell
from saltus.studies.results import Result, Results
from saltus.studies.study import Study
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
        if not folder.covers(spec):
            return None
        folder.require(spec)
        return folder.records().of(spec)


def open_source(root: Path) -> Source:
    """The archive at a path, or the run folders under it."""
    return Archive(root) if any(root.glob("*/runs.parquet")) else RunFolders(root)


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
    snapshots = records.kept if cell.patterns else records.kept.last_influence()
    return records.select({name: records.tables[name] for name in wanted}, snapshots)


def keep(study: Study, source: Source, archive: Archive, change: Change = lambda cell: cell) -> tuple[list[Path], int]:
    """Add the finished cells of a study to an archive; the new packs, and how many runs they hold."""
    new: dict[str, RunRecords] = {}
    for scale in study.scales:
        for cell in list_cells(study, scale, source, change):
            if cell.run not in archive and (records := source.find(cell.run)) is not None:
                new.setdefault(cell.run.content_hash, slim(cell, records))
    return archive.add(study.name, new.values()), len(new)
