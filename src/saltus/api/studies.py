"""Studies: their runs, what is kept of them, and the figures and tables made of what was kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from saltus.api.jobs import plan_runs
from saltus.api.runs import run_all
from saltus.arguments import DEFAULT_KEPT, DEFAULT_ROOT, AnyPath
from saltus.errors import SaltusError
from saltus.extras import require_extra
from saltus.report.terminal.notebook import open_console
from saltus.studies.cells import Cell
from saltus.studies.jobs import Plan
from saltus.studies.page import write_results
from saltus.studies.sources import (
    RunFolders,
    change_cells,
    keep,
    list_cells,
    open_source,
    read_results,
    take_cells,
    tell_races,
)
from saltus.studies.study import Study
from saltus.train.archive import Archive
from saltus.train.folder import RunFolder

if TYPE_CHECKING:
    from saltus.engines.base import Engine


def run_study(
    study: Study,
    *,
    out: AnyPath = DEFAULT_ROOT,
    seeds: int | None = None,
    steps: int | None = None,
    only: tuple[str, ...] = (),
    scale: str = "full",
    grid: bool = False,
    device: str = "auto",
    processes: int | None = None,
    engine: "Engine | None" = None,
    console: Console | None = None,
) -> list[RunFolder]:
    """Train the cells of a study at one scale, and then those that follow from them; the folders of all.

    `seeds` and `steps` stand in for what the study says; `only` are the names that are wanted, or parts of names. With
    `grid` the cells of a race are trained in full. An `engine` of `saltus.api.open_engine` stands in for `device` and
    `processes`.
    """
    out = Path(out)
    change, source = change_cells(seeds=seeds, steps=steps), RunFolders(out)
    study = replace(study, race=None) if grid else study

    def train(cells: Sequence[Cell], known: Sequence[Cell]) -> list[RunFolder]:
        chosen = [cell.run for cell in _choose(cells, known, only)]
        return run_all(
            chosen,
            out=out,
            device=device,
            processes=processes,
            engine=engine,
            measures=study.measures,
            console=console,
        )

    first = [change(cell) for cell in study.at(scale)]
    names = ", ".join(cell.name for cell in first)
    if not study.follow and (unknown := _find_unknown(first, only)) is not None:
        raise SaltusError(f"only: {unknown!r} is in no run's name; the names are {names}")
    while study.race is not None:
        going, _ = take_cells(study, first, source)
        behind = [cell for cell in _choose(going, going, only) if source.find(cell.run) is None]
        if not behind:
            first = going
            break
        (console or open_console()).print("\n".join(tell_races(study, first, source)), markup=False, highlight=False)
        train(behind, going)
        if any(source.find(cell.run) is None for cell in behind):  # it is left to another process
            return RunFolder.of_all(out, [cell.run for cell in behind])
    folders = train(first, first)
    following = list_cells(study, scale, source, change)[len(first) :]
    if (unknown := _find_unknown([*first, *following], only)) is not None:
        raise SaltusError(
            f"only: {unknown!r} is in the name of no run that can be trained; {study.name} starts with {names}"
        )
    return folders + train(following, [*first, *following])


def plan_study(
    study: Study,
    *,
    out: AnyPath = DEFAULT_ROOT,
    seeds: int | None = None,
    steps: int | None = None,
    only: tuple[str, ...] = (),
    scale: str = "full",
    grid: bool = False,
    device: str = "auto",
    processes: int | None = None,
    engine: "Engine | None" = None,
) -> Plan:
    """The jobs that `run_study` would send now; not those that follow from results, which are not there yet."""
    require_extra("train", "a plan")
    from saltus.engines.local import LocalEngine

    chosen: Engine = engine or LocalEngine.of(device, processes, open_console())
    out = Path(out)
    study = replace(study, race=None) if grid else study
    cells = list_cells(study, scale, RunFolders(out), change_cells(seeds=seeds, steps=steps))
    if (unknown := _find_unknown(cells, only)) is not None:
        raise SaltusError(f"only: {unknown!r} is in no run's name; the names are {', '.join(c.name for c in cells)}")
    return plan_runs([cell.run for cell in _choose(cells, cells, only)], out, chosen)


def keep_results(
    study: Study,
    out: AnyPath = DEFAULT_ROOT,
    to: AnyPath = DEFAULT_KEPT,
    *,
    seeds: int | None = None,
    steps: int | None = None,
) -> int:
    """Add the small records of the finished runs of a study in `out` to the archive at `to`; how many are new."""
    out, to = Path(out), Path(to)
    _require_folder(out, DEFAULT_ROOT)
    _, new = keep(study, RunFolders(out), Archive(to), change_cells(seeds=seeds, steps=steps))
    return new


def draw_results(
    studies: Sequence[Study],
    out: AnyPath = DEFAULT_KEPT,
    to: AnyPath | None = None,
    *,
    seeds: int | None = None,
    steps: int | None = None,
) -> Path:
    """Draw the figures of studies from the records in `out` and write the page that shows them; its path.

    `out` is an archive or a folder of runs, `to` the folder of the page: that above `out` if it is not given.
    """
    out = Path(out)
    to = None if to is None else Path(to)
    _require_folder(out, DEFAULT_KEPT)
    source, change = open_source(out), change_cells(seeds=seeds, steps=steps)
    return write_results([(study, read_results(study, source, change)) for study in studies], to or out.parent)


def _require_folder(out: Path, default: Path) -> None:
    """Refuse what is no folder: none of its results would be there. Before the first result there is no default one."""
    if not out.is_dir() and (out.exists() or out != default):
        raise SaltusError(
            f"out: {out} was given, and is no folder; give the folder that holds the runs or kept records"
        )


def _choose(cells: Sequence[Cell], known: Sequence[Cell], only: tuple[str, ...]) -> list[Cell]:
    """Those that are wanted: by their names, or else by parts of them."""
    parts = set(only) - {cell.name for cell in known}
    return [c for c in cells if not only or c.name in only or any(part in c.name for part in parts)]


def _find_unknown(cells: Sequence[Cell], only: tuple[str, ...]) -> str | None:
    """The first part that is in no cell's name."""
    return next((part for part in only if not any(part in cell.name for cell in cells)), None)
