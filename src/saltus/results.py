"""The results of a study: for each of its cells the records of the largest scale at which it has been run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from saltus.records import TABLES, RunRecords
from saltus.store import RunFolder
from saltus.studies import Study


class Results(Mapping[str, RunRecords]):
    """By the name of its run, each cell that is there."""

    def __init__(self, study: Study, root: Path) -> None:
        self._cells: dict[str, RunRecords] = {}
        self._scales: dict[str, str] = {}
        for scale, specs in study.scales.items():
            for spec in specs:
                folder = RunFolder(root / spec.run_id)
                if spec.name not in self._cells and folder.finished:
                    folder.require(spec)
                    self._cells[spec.name], self._scales[spec.name] = folder.records(), scale
        self.planned = [spec.name for spec in study.runs()]
        """Names of all cells, there or not."""

    def __getitem__(self, name: str) -> RunRecords:
        return self._cells[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    def scale(self, name: str) -> str:
        """The scale at which a cell was run."""
        return self._scales[name]


KEPT = ("steps", "units")
"""The tables that figures of many cells need."""

FEW_SNAPSHOTS = 4
"""A schedule that asks for none on the way has so many: step 0, its first, one that grows from it, and the last."""


def keep(study: Study, root: Path, to: Path) -> list[Path]:
    """Copy the finished runs of a study without weights, and without what is measured by position and by head.

    Of runs with more than `FEW_SNAPSHOTS` of their patterns, which were asked for to be looked at, heads and patterns
    are kept too. What is there already stays.
    """
    kept: list[Path] = []
    for specs in study.scales.values():
        for spec in specs:
            source, target = RunFolder(root / spec.run_id), to / spec.run_id
            if not source.finished or target.exists():
                continue
            records = source.records()
            whole = len(records.patterns.steps) > FEW_SNAPSHOTS
            tables = {name: getattr(records, name) for name in TABLES}
            for name in TABLES.keys() - KEPT:
                if not (whole and name == "heads"):
                    tables[name] = tables[name].slice(0, 0)
            source.copy_records(target, tables, records.patterns if whole else None)
            kept.append(target)
    return kept
