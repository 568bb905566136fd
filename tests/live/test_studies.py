"""Studies on the live page: how far their cells are, beside the folders of their runs."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from saltus.api.shelves import FolderShelf, Shelves, StudyShelf, WatchedStudy
from saltus.report.html.blocks import Table
from saltus.studies.study import load_study
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]

STUDY = """
from saltus import Cell, RunSpec, Study

tiny = RunSpec.model_validate_json({spec!r})
faster = tiny.training.model_copy(update={{"learning_rate": 0.1}})
other = tiny.model_copy(update={{"name": "other", "training": faster}})
study = Study(cells=[Cell(rate=0.01, run=tiny), Cell(rate=0.1, run=other)])
"""


@pytest.fixture
def watched(finished: RunFolder, tmp_path: Path) -> WatchedStudy:
    """Two cells that differ in the learning rate; the run of the first is finished."""
    spec = finished.spec()
    shutil.copytree(finished.path, tmp_path / "out" / finished.path.name)
    (tmp_path / "sizes.py").write_text(STUDY.format(spec=spec.model_dump_json()))
    return WatchedStudy(tmp_path / "sizes.py", tmp_path / "out")


def test_a_study_says_how_far_its_cells_are_beside_the_folders_of_its_runs(
    watched: WatchedStudy, finished: RunFolder
) -> None:
    shelf = Shelves([StudyShelf(watched), FolderShelf([Path(watched.out)])])
    study, run = shelf.look()
    assert (study.name, study.kind, study.what) == ("sizes", "study", "1 of 2 cells are finished")
    assert (study.state, study.done, study.left) == ("not finished", 0.5, None)
    assert shelf.look()[0] == study
    (section,) = shelf.describe(study.key)
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert [row.cells for row in table.rows] == [("tiny", 2, 40, 40, "finished"), ("other", 2, 0, 40, "waiting")]
    assert run.name == finished.path.name
    assert len(shelf.describe(run.key)) == 1
    with pytest.raises(KeyError):
        shelf.describe("0123456789abcdef")
    other = load_study(watched.path).cells[1].run
    with RunFolder.of(Path(watched.out), other).writing(other):
        trained = shelf.look()[0]
    assert (trained.state, trained.version != study.version) == ("being written", True)


def test_what_run_was_told_is_watched(watched: WatchedStudy) -> None:
    """With `--seeds 3` the run of two seeds is not all that is wanted."""
    (study,) = StudyShelf(replace(watched, seeds=3)).look()
    assert (study.what, study.state) == ("0 of 2 cells are finished", "not finished")


def test_a_study_that_raises_is_a_sentence_on_the_page(watched: WatchedStudy, saltus: Saltus) -> None:
    text = (
        Path(watched.path).read_text().replace("study = Study(", "study = Study(follow=lambda results, scale: 1 / 0, ")
    )
    Path(watched.path).write_text(text)
    shelf = StudyShelf(watched)
    (study,) = shelf.look()
    assert study.state == "cannot be read: the study raised ZeroDivisionError('division by zero')"
    assert shelf.describe(study.key)[0].headline == "Nothing can be shown yet."
    code, _, error = saltus("watch", Path(watched.path).parent / "none.py")
    assert (code, "there is no such study file" in error) == (2, True)
