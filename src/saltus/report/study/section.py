"""The section of a page that is about a study while it is trained: how far its cells are, and how its races stand."""

from collections.abc import Sequence
from dataclasses import dataclass

from saltus.report.html.blocks import Column, Row, Section, Table, Text
from saltus.report.html.labels import plural


@dataclass(frozen=True)
class CellProgress:
    """How far one cell is."""

    name: str
    seeds: int
    step: int
    """Of its newest checkpoint, or its last."""
    steps: int
    """That it is to have next; in a race the cell may get more later."""
    state: str
    """Such as `being trained`; of a failed one with the reason."""
    race: str = ""
    """Where it stands in its race, such as `leads`; empty without a race."""

    @property
    def finished(self) -> bool:
        """Whether it has all steps that it is to have next."""
        return self.state == "finished"


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is."""

    name: str
    title: str
    cells: Sequence[CellProgress]
    races: Sequence[str]
    """A sentence on each of its races, the end of it left open."""

    @property
    def told(self) -> str:
        """Such as `3 of 12 cells are finished, 1 failed`."""
        done = sum(cell.finished for cell in self.cells)
        failed = sum(cell.state.startswith("failed") for cell in self.cells)
        return f"{done} of {plural(len(self.cells), 'cell')} {'is' if len(self.cells) == 1 else 'are'} finished" + (
            f", {failed} failed" if failed else ""
        )


def describe_study(progress: StudyProgress) -> Section:
    """The section about a study."""
    racing = bool(progress.races)
    first = progress.races[0] if len(progress.races) == 1 else progress.told
    names = [Column("cell", style="name"), *([Column("race", style="text")] if racing else [])]
    columns = [*names, Column("seeds"), Column("step"), Column("of"), Column("state", style="text")]
    rows = [
        Row(
            (cell.name, *([cell.race] if racing else []), cell.seeds, cell.step, cell.steps, cell.state),
            strong=cell.race in ("leads", "the best"),
        )
        for cell in progress.cells
    ]
    note = "In a race seeds and steps are those that a cell has, or is to have next. " if racing else ""
    return Section(
        name=progress.name,
        question="Which cell is the best?" if racing else "How far are its cells?",
        headline=f"{first[0].upper()}{first[1:]}.",
        essence=f"study · {progress.title.rstrip('.')} · {plural(len(progress.cells), 'cell')}",
        blocks=[
            *([Text(f"{progress.told}; its races:", items=progress.races)] if len(progress.races) > 1 else []),
            Table("Every cell", columns, rows, f"{note}What emerged in a run is in the folder of its name."),
        ],
    )
