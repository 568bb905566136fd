"""Where the results of a study come from: run folders or an archive; and what is kept of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from saltus.specs import RunSpec
from saltus.studies.cells import Cell
from saltus.studies.race_words import describe_race
from saltus.studies.results import Result, Results
from saltus.studies.study import Study
from saltus.train.archive import Archive, shorten
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
        whole = {cell.name: change(cell) for cell in study.at(scale)}
        for cell in list_cells(study, scale, source, change, waiting=False):
            records = source.find(cell.run)
            if records is not None:
                named = "short" if cell.short and scale == "full" else scale
                found.setdefault(cell.name, Result(cell, records, named))
            if scale == "full" or records is not None:
                planned.setdefault(cell.name, whole.get(cell.name, cell))
    order = list(planned)
    return Results(sorted(found.values(), key=lambda result: order.index(result.name)), list(planned.values()))


def list_cells(
    study: Study, scale: str, source: Source, change: Change = lambda cell: cell, *, waiting: bool = True
) -> list[Cell]:
    """The cells of a study at a scale, and the cells that follow from the results in a source.

    Those of a race have the seeds and steps that they are to have next, or with `waiting` False those that they have.
    """
    whole = [change(cell) for cell in study.at(scale)]
    going, gone = take_cells(study, whole, source)
    first = going if waiting else gone
    if study.follow is None:
        return first
    there = ((cell, source.find(cell.run)) for cell in going)
    results = Results([Result(cell, records, scale) for cell, records in there if records is not None])
    return first + [change(cell) for cell in study.following(results, scale)]


def take_cells(study: Study, cells: list[Cell], source: Source) -> tuple[list[Cell], list[Cell]]:
    """The cells of a race with the seeds and steps that each is to have next, and with those that it has.

    A cell that was trained in full anyway is taken so. Without a race all are.
    """
    if study.race is None:
        return cells, cells
    going: dict[str, Cell] = {}
    gone: dict[str, Cell] = {}
    for heat in study.race.list_heats(cells):
        history = heat.follow(source.find)
        gone |= heat.reach(history.reached)
        going |= heat.reach((*history.reached, *history.waiting))
    full = {cell.name: cell for cell in cells if source.find(cell.run) is not None}
    going, gone = going | full, gone | full
    return [going[cell.name] for cell in cells], [gone.get(cell.name, cell) for cell in cells]


def tell_races(study: Study, cells: list[Cell], source: Source) -> list[str]:
    """A sentence on how far each race of a study has come."""
    heats = study.race.list_heats(cells) if study.race else []
    return [describe_race(heat, heat.follow(source.find)) for heat in heats]


KEPT = ("steps", "units")
"""The tables that figures of many cells need."""


def slim(cell: Cell, records: RunRecords) -> RunRecords:
    """The records of a cell as they are kept: without what is measured by position and by head, unless it asks for it.

    Of the influence the last snapshot is kept, by which the gate judges. Of a brief cell numbers have the
    precision of float32, and the probabilities of targets are left empty.
    """
    wanted = {*KEPT, *(measure for measure in records.tables if measure not in ("positions", "heads"))}
    if cell.patterns:
        wanted.add("heads")
    snapshots = records.kept if cell.patterns else records.kept.last_influence()
    tables = {name: records.tables[name] for name in wanted}
    if cell.brief:
        tables |= {name: shorten(tables[name], records.facts) for name in KEPT}
    return records.select(tables, snapshots)


def keep(study: Study, source: Source, archive: Archive, change: Change = lambda cell: cell) -> tuple[list[Path], int]:
    """Add the finished cells of a study to an archive; the new packs, and how many runs they hold."""
    new: dict[str, RunRecords] = {}
    for scale in study.scales:
        for cell in list_cells(study, scale, source, change, waiting=False):
            known = cell.run in archive or any(records.spec.includes(cell.run) for records in new.values())
            if not known and (records := source.find(cell.run)) is not None:
                new[cell.run.content_hash] = slim(cell, records)
    return archive.add(study.name, new.values()), len(new)
