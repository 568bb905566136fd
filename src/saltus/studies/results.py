"""The results of a study: for each of its cells the records of the largest scale at which it has been run."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from saltus.specs import RunSpec
from saltus.studies.study import Study
from saltus.train.folder import find_run
from saltus.train.records import TABLES, Patterns, RunRecords


class Results(Mapping[str, RunRecords]):
    """By the name of its run, each cell that is there."""

    def __init__(self, study: Study, root: Path) -> None:
        self._cells: dict[str, RunRecords] = {}
        self._scales: dict[str, str] = {}
        planned: list[str] = []
        for scale in study.scales:
            for spec in list_runs(study, scale, root):
                folder = find_run(root, spec)
                if folder.finished and spec.name not in self._cells:
                    folder.require(spec)
                    # Where another study has trained it, it has another name there.
                    self._cells[spec.name] = replace(folder.records(), spec=spec)
                    self._scales[spec.name] = scale
                if scale == "full" or folder.finished:
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


def list_runs(study: Study, scale: str, root: Path) -> list[RunSpec]:
    """The runs of a study at a scale, and those that follow from the ones that are finished in `root`."""
    first = study.runs(scale)
    if study.then is None:
        return first
    folders = {spec.name: find_run(root, spec) for spec in first}
    there = {name: folder.records() for name, folder in folders.items() if folder.finished}
    return first + study.following(there, scale)


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
        for spec in list_runs(study, scale, root):
            source = find_run(root, spec)
            if not source.finished or find_run(to, spec).finished:
                continue
            records = source.records()
            whole = len(records.patterns.steps) > FEW_SNAPSHOTS
            tables = {name: getattr(records, name) for name in TABLES}
            for name in TABLES.keys() - KEPT:
                if not (whole and name == "heads"):
                    tables[name] = tables[name].slice(0, 0)
            target = to / source.path.name
            source.copy_records(target, tables, records.patterns if whole else _keep_last(records.patterns))
            kept.append(target)
    return kept


def _keep_last(patterns: Patterns) -> Patterns:
    """No attention, and the last influence."""
    last = slice(-1, None) if len(patterns.influence) else slice(0, 0)
    return Patterns(patterns.steps[last], patterns.patterns[last, :, :0], patterns.influence[last])
