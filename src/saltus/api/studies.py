"""Studies: their runs, what is kept of them, and the figures and tables made of what was kept."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from saltus.api.folders import DEFAULT_ROOT
from saltus.api.runs import run_all
from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.studies.page import write_results
from saltus.studies.results import Results, keep
from saltus.studies.study import Study, load_study
from saltus.train.folder import RunFolder, find_run


def run_study(
    study: Study,
    *,
    out: Path = DEFAULT_ROOT,
    seeds: int | None = None,
    steps: int | None = None,
    only: tuple[str, ...] = (),
    scale: str = "full",
    device: str = "auto",
    console: Console | None = None,
) -> list[RunFolder]:
    """Train the runs of a study at one scale, and then those that follow from them; the folders of all.

    `seeds` and `steps` stand in for what the study says; `only` are the names that are wanted, or parts of names.
    """

    def choose(specs: Sequence[RunSpec], known: Sequence[RunSpec]) -> list[RunSpec]:
        # All of them are checked before the first one trains.
        checked = [spec.with_overrides(seeds=seeds, steps=steps) for spec in specs]
        parts = set(only) - {spec.name for spec in known}
        return [s for s in checked if not only or s.name in only or any(part in s.name for part in parts)]

    def find_unknown(specs: Sequence[RunSpec]) -> str | None:
        return next((part for part in only if not any(part in spec.name for spec in specs)), None)

    first = study.runs(scale)
    names = ", ".join(spec.name for spec in first)
    if not study.then and (unknown := find_unknown(first)) is not None:
        raise SaltusError(f"only: {unknown!r} is in no run's name; the names are {names}")
    folders = run_all(choose(first, first), out=out, device=device, console=console)
    done = {spec.name: find_run(out, spec.with_overrides(seeds=seeds, steps=steps)) for spec in first}
    results = {name: folder.records() for name, folder in done.items() if folder.finished}
    following = study.following(results, scale)
    if (unknown := find_unknown([*first, *following])) is not None:
        raise SaltusError(
            f"only: {unknown!r} is in the name of no run that can be trained; {study.name} starts with {names}"
        )
    return folders + run_all(choose(following, [*first, *following]), out=out, device=device, console=console)


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
