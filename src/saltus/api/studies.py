"""Studies: their runs, what is kept of them, and the figures and tables made of what was kept."""

from collections.abc import Sequence
from pathlib import Path

from saltus.report.results_page import write_results
from saltus.results import Results, keep
from saltus.studies import load_study

DEFAULT_KEPT = Path("docs/results/records")


def keep_results(study: Path, out: Path, to: Path = DEFAULT_KEPT) -> list[Path]:
    """Copy the small records of the finished runs of a study, found in `out`, to `to`; the new folders."""
    return keep(load_study(study), out, to)


def draw_results(studies: Sequence[Path], out: Path = DEFAULT_KEPT, to: Path | None = None) -> Path:
    """Draw the figures of studies from the runs in `out` and write the page that shows them; its path.

    `to` is the folder of the page, that above `out` if it is not given.
    """
    folder = to or out.parent
    loaded = [(path, load_study(path)) for path in studies]
    return write_results([(path, study, Results(study, out)) for path, study in loaded], folder)
