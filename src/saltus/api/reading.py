"""Read what other people measured, and what saltus did, as curves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from saltus.api.folders import KINDS, Folder, FolderWithoutCurves
from saltus.arguments import DEFAULT_ROOT, AnyPath
from saltus.curves import Curves, Rule
from saltus.errors import SaltusError
from saltus.ingest.folder import CurvesFolder
from saltus.ingest.gather import is_wanted
from saltus.ingest.read import read_files
from saltus.provenance import describe_provenance
from saltus.specs.reading import ReadSpec


def read(
    *paths: AnyPath,
    pattern: str | None = None,
    group: str | None = None,
    seed: str | None = None,
    step: str | None = None,
    unit: str | None = None,
    value: Sequence[str] = (),
    only: Sequence[str] = (),
    chance: float | None = None,
    ceiling: float | None = None,
    rule: Rule | None = None,
    name: str | None = None,
    out: AnyPath = DEFAULT_ROOT,
) -> Curves:
    """Read files of evaluations, or folders of them, into one set of curves.

    Results of lm-evaluation-harness, tables (CSV, JSON lines, Parquet), event files of TensorBoard, the Trainer's
    `trainer_state.json`, and saltus' own folders. What is not given is guessed; what was guessed, left out or found
    wrong is in the notes of the curves. A file that cannot be read is a note and stops no other.

    Args:
        paths: files and folders.
        pattern: of paths, such as `{group}-seed{seed}/step{step}/*.json`.
        group: column of tables.
        seed: column of tables.
        step: column of tables.
        unit: column of tables that says what was evaluated.
        value: metrics, tags or columns; of results by task the most frequent one if not given, otherwise all.
        only: units, with `*` for anything; all if not given.
        chance: level of chance of units of which it is not known.
        ceiling: best value of units of which it is not known.
        rule: by which the curves are read; at least 0.5 at two evaluations in a row if not given.
        name: of the folder of results in which the curves are kept as well, in place of what was read before.
        out: folder that holds it.

    Raises:
        SaltusError: if there is nothing to read, or what was asked for is not there.

    """
    spec = ReadSpec(
        paths=tuple(map(str, paths)),
        pattern=pattern,
        group=group,
        seed=seed,
        step=step,
        unit=unit,
        value=tuple(value),
        only=tuple(only),
        chance=chance,
        ceiling=ceiling,
    )
    folder = None if name is None else CurvesFolder.of(Path(out), name)
    parts: dict[Path | None, Curves] = {
        path: _read_own(path) for path in map(Path, spec.paths) if _find_own(path) is not None
    }
    if others := tuple(path for path in spec.paths if Path(path) not in parts):
        files = spec.model_copy(update={"paths": others})
        parts[None] = read_files(files, rule, skip=lambda path: _find_own(path) is not None)
    curves = _join(parts, spec, rule)
    if folder is not None:
        with folder.writing(spec, again=True):
            folder.commit(spec, curves)
            folder.finish(describe_provenance() | {"curves": len(curves)})
    return curves


def _find_own(path: Path) -> Folder | None:
    """The folder of results that a path is, if it is one."""
    return next((kind(path) for kind in KINDS if (path / kind.description).exists()), None)


def _read_own(path: Path) -> Curves:
    folder = _find_own(path)
    if folder is None or isinstance(folder, FolderWithoutCurves):
        raise SaltusError(f"{path} is a folder of saltus without curves; give runs, scans or curves")
    return folder.records().curves


def _join(parts: Mapping[Path | None, Curves], spec: ReadSpec, rule: Rule | None) -> Curves:
    """The curves of several folders, of the units that are asked for; equal groups are told apart by their folders.

    None stands for all files that lie in none of them.

    Raises:
        SaltusError: if the folders have different measures, or none of the units.

    """
    first = next(iter(parts.values()))
    if len(measures := {curves.measure for curves in parts.values()}) > 1:
        raise SaltusError(
            f"the curves are of different measures ({', '.join(sorted(measures))}); read them one by one, and give "
            "report the folders of all"
        )
    own = {path: path.resolve().name for path in parts if path is not None}
    names = {path: name if [*own.values()].count(name) == 1 else str(path) for path, name in own.items()}
    keys = [curve.key for part in parts.values() for curve in part]
    twice = len(set(keys)) < len(keys)
    curves = [
        replace(curve, key=curve.key._replace(group=f"{names[path]}/{curve.key.group}"))
        if twice and path is not None
        else curve
        for path, part in parts.items()
        for curve in part
        if is_wanted(curve.key.unit, spec)
    ]
    if not curves:
        units = ", ".join(dict.fromkeys(key.unit for key in keys))
        raise SaltusError(f"only: {', '.join(spec.only)} was given, and no unit has such a name; there are {units}")
    notes = dict.fromkeys(note for part in parts.values() for note in part.notes)
    return replace(first, curves=tuple(curves), rule=rule or first.rule, notes=tuple(notes))
