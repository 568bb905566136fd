"""The results of a study: for each of its cells the records of the largest scale at which it has been run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from saltus.records import TABLES, Patterns, RunRecords
from saltus.specs import RunSpec
from saltus.store import RunFolder
from saltus.studies import Study


class Results(Mapping[str, RunRecords]):
    """By the name of its run, each cell that is there."""

    def __init__(self, study: Study, root: Path) -> None:
        self._cells: dict[str, RunRecords] = {}
        self._scales: dict[str, str] = {}
        planned: list[str] = []
        for scale in study.scales:
            for spec, records in read_scale(study, scale, root):
                if records and spec.name not in self._cells:
                    self._cells[spec.name], self._scales[spec.name] = records, scale
                if scale == "full" or records:
                    planned.append(spec.name)
        self.planned = list(dict.fromkeys(planned))
        """Names of all cells, there or not, as far as they are known."""

    def __getitem__(self, name: str) -> RunRecords:
        return self._cells[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    def scale(self, name: str) -> str:
        """The scale at which a cell was run."""
        return self._scales[name]


def read_scale(study: Study, scale: str, root: Path) -> list[tuple[RunSpec, RunRecords | None]]:
    """The runs of a study at a scale and those that follow from them, with the records of the finished ones."""
    first = [(spec, _read_finished(spec, root)) for spec in study.runs(scale)]
    there = {spec.name: records for spec, records in first if records}
    return first + [(spec, _read_finished(spec, root)) for spec in study.following(there, scale)]


def _read_finished(spec: RunSpec, root: Path) -> RunRecords | None:
    folder = RunFolder(root / spec.run_id)
    if not folder.finished:
        return None
    folder.require(spec)
    return folder.records()


KEPT = ("steps", "units")
"""The tables that figures of many cells need."""

FEW_SNAPSHOTS = 4
"""A schedule that asks for none on the way has so many: step 0, its first, one that grows from it, and the last."""


def keep(study: Study, root: Path, to: Path) -> list[Path]:
    """Copy the finished runs of a study without weights, and without what is measured by position and by head.

    Of runs with more than `FEW_SNAPSHOTS` of their patterns, which were asked for to be looked at, heads and patterns
    are kept too; of the influence of others the last. What is there already stays.
    """
    kept: list[Path] = []
    for scale in study.scales:
        for spec, records in read_scale(study, scale, root):
            source, target = RunFolder(root / spec.run_id), to / spec.run_id
            if records is None or target.exists():
                continue
            whole = len(records.patterns.steps) > FEW_SNAPSHOTS
            tables = {name: getattr(records, name) for name in TABLES}
            for name in TABLES.keys() - KEPT:
                if not (whole and name == "heads"):
                    tables[name] = tables[name].slice(0, 0)
            source.copy_records(target, tables, records.patterns if whole else _keep_last(records.patterns))
            kept.append(target)
    return kept


def _keep_last(patterns: Patterns) -> Patterns:
    """No attention, and the last influence."""
    last = slice(-1, None) if len(patterns.influence) else slice(0, 0)
    return Patterns(patterns.steps[last], patterns.patterns[last, :, :0], patterns.influence[last])
