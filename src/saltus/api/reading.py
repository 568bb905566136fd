"""Read what other people measured, and what saltus did, as curves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from saltus.api.folders import DEFAULT_ROOT, KINDS, Folder
from saltus.api.provenance import describe_provenance
from saltus.curves import Curves, Rule
from saltus.errors import SaltusError
from saltus.ingest.folder import CurvesFolder
from saltus.ingest.gather import is_wanted
from saltus.ingest.read import read_files
from saltus.lm.audit.folder import AuditFolder
from saltus.lm.patching.folder import PatchFolder
from saltus.specs.reading import ReadSpec


def read(
    *paths: str | Path,
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
    out: Path = DEFAULT_ROOT,
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
    folder = None if name is None else CurvesFolder.of(out, name)
    own = {str(path): _list_own(Path(path)) for path in paths}
    parts = {found.path.name: _read_own(found, spec) for folders in own.values() for found in folders}
    if others := tuple(path for path in spec.paths if not own[path]):
        parts[""] = read_files(spec.model_copy(update={"paths": others}), rule)
    curves = _join(parts, rule)
    if folder is not None:
        with folder.writing(spec, again=True):
            folder.commit(curves)
            folder.finish(describe_provenance() | {"curves": len(curves)})
    return curves


def _list_own(path: Path) -> list[Folder]:
    """The folder of results that a path is, or those with curves in it."""
    if here := [kind(path) for kind in KINDS if (path / kind.description).exists()]:
        return here
    return [found for kind in KINDS for found in kind.list(path) if not isinstance(found, PatchFolder | AuditFolder)]


def _read_own(folder: Folder, spec: ReadSpec) -> Curves:
    """The curves of a folder of results, of the units that are asked for."""
    if isinstance(folder, PatchFolder | AuditFolder):
        raise SaltusError(f"{folder.path} is a {folder.kind}, which has no curves; give runs, scans or curves")
    curves = folder.records().curves
    return replace(curves, curves=tuple(curve for curve in curves if is_wanted(curve.key.unit, spec)))


def _join(parts: Mapping[str, Curves], rule: Rule | None) -> Curves:
    """Curves of several origins as one set; groups of the same name are told apart by their folders."""
    first = next(iter(parts.values()))
    if len(measures := {curves.measure for curves in parts.values()}) > 1:
        raise SaltusError(
            f"the curves are of different measures ({', '.join(sorted(measures))}); read them one by one, and give "
            "report the folders of all"
        )
    several = Counter(curve.key for curves in parts.values() for curve in curves).most_common(1)
    rename = bool(several) and several[0][1] > 1
    curves = [
        replace(curve, key=curve.key._replace(group=f"{name}/{curve.key.group}")) if rename and name else curve
        for name, part in parts.items()
        for curve in part
    ]
    notes = dict.fromkeys(note for part in parts.values() for note in part.notes)
    return replace(first, curves=tuple(curves), rule=rule or first.rule, notes=tuple(notes))
