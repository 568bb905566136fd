"""Files of other people, read into one set of curves."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from saltus.curves import Curves, Rule
from saltus.errors import SaltusError
from saltus.ingest.audit import find_contradiction
from saltus.ingest.gather import Origin, Value, gather
from saltus.ingest.ledger import Ledger
from saltus.ingest.readers import READERS, Reader
from saltus.ingest.rows import MOST_VALUES, Reading, Source, UnreadableError
from saltus.labels import Labels, clean, compile_pattern, describe_model, guess_labels, read_pattern
from saltus.specs.reading import ReadSpec

_SHOWN = 3


@dataclass(frozen=True)
class Labelled:
    """What was read from a file, and what its path says of it."""

    name: str
    """For sentences."""
    path: str
    """From the root on, which was asked for."""
    reading: Reading
    said: Labels
    """By the pattern, which holds whatever the content says."""
    guessed: Labels
    """From the usual words in the path, where nothing else says it."""
    root: str
    """The group where nothing names one."""
    written: float
    """When the results were made, in seconds since the epoch."""


def read_files(spec: ReadSpec, rule: Rule | None = None, skip: Callable[[Path], bool] = lambda folder: False) -> Curves:
    """Read all files that a description names; what is wrong with some of them is in the notes of the curves.

    Labels come from the pattern; otherwise from columns; otherwise from the model that the content names; otherwise
    from the path. A seed that nothing names is `0`. `skip` says which folders are results of saltus.

    Raises:
        SaltusError: if there is nothing that can be read.

    """
    ledger = Ledger()
    files = [*_read_all(spec, list_sources(spec.paths, skip, ledger), ledger)]
    columns = {name for file in files for name in file.reading.columns}
    values: dict[Origin, list[Value]] = defaultdict(list)
    for count, (origin, value) in enumerate(_list_values(_audit(files, ledger), ledger), 1):
        values[origin].append(value)
        if count > MOST_VALUES:
            raise SaltusError(
                f"there are more than {MOST_VALUES:,} values, the most for one reading; read fewer files, or choose "
                "columns with value"
            )
    if not values:
        said = "; ".join(ledger.sentences[:_SHOWN])
        raise SaltusError(f"{', '.join(spec.paths)}: there is nothing to read" + (f"; {said}" if said else ""))
    metrics = {origin.metric for origin in values}
    named = tuple(name for name in spec.value if name in metrics or name not in columns)
    return gather(values, spec.model_copy(update={"value": named}), rule, ledger)


def list_sources(paths: Sequence[str], skip: Callable[[Path], bool], ledger: Ledger) -> Iterator[Source]:
    """All files at and below some paths, by name and each once; those whose name begins with a dot are left out.

    Raises:
        SaltusError: if a path is not there.

    """

    def tell(error: OSError) -> None:
        place = f"{clean(error.filename)} ({error.strerror})"
        ledger.add("folder cannot be opened and was left out", "folders cannot be opened and were left out", place)

    seen: set[str] = set()

    def is_new(path: Path) -> bool:
        real = os.path.realpath(path)  # of a link to itself too, which `resolve` refuses
        return not (real in seen or seen.add(real))

    def is_walked(path: Path) -> bool:
        if not skip(path):
            return not path.name.startswith(".") and is_new(path)
        one = "folder is one of saltus and was left alone; give its own path to read it"
        many = "folders are some of saltus and were left alone; give their own paths to read them"
        ledger.tell(one, many, clean(path.as_posix()))
        return False

    common = _find_common([Path(path) for path in paths if not Path(path).is_dir()])
    for root in map(Path, paths):
        if root.is_dir():
            for folder, folders, names in os.walk(root, onerror=tell, followlinks=True):
                folders[:] = [name for name in sorted(folders) if is_walked(Path(folder, name))]
                found = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
                yield from (Source(path, root) for path in found if is_new(path))
        elif not root.exists():
            raise SaltusError(f"{root} is no file and no folder; give the path of results")
        elif is_new(root):
            yield Source(root, common if common and root.is_absolute() else root)


def _find_common(files: Sequence[Path]) -> Path | None:
    """The folder that several files are in, by whose paths below it they are told apart; None of a single one."""
    folders = [path.parent for path in files if path.is_absolute()]
    if len(folders) < 2 or len({path.anchor for path in folders}) > 1:
        return None
    return Path(os.path.commonpath(folders))


def _read_all(spec: ReadSpec, sources: Iterable[Source], ledger: Ledger) -> Iterator[Labelled]:
    """What is in all files that a reader takes, whether or not their labels are right."""
    pattern = compile_pattern(spec.pattern) if spec.pattern is not None else None
    for source in sources:
        said = Labels() if pattern is None else read_pattern(pattern, source.path.as_posix())
        try:
            reader = _choose_reader(source)
            if reader is None:
                one = "file is of no kind that is read and was left alone"
                ledger.tell(one, "files are of no kind that is read and were left alone", source.name)
            elif said is None:
                one = "file does not fit the pattern and was left out"
                ledger.add(one, "files do not fit the pattern and were left out", source.name)
            else:
                yield _describe(source, reader.read(source, spec, ledger), said, several=len(spec.paths) > 1)
        except Exception as error:  # noqa: BLE001 - packages that parse a format fail in any way
            place = f"{source.name} ({clean(_explain(error))})"
            ledger.add("file cannot be read and was left out", "files cannot be read and were left out", place)


def _explain(error: Exception) -> str:
    match error:
        case UnreadableError():
            return str(error)
        case OSError():
            return error.strerror or "cannot be opened"
        case _:
            return f"{type(error).__name__}: {error}"


def _choose_reader(source: Source) -> Reader | None:
    if not source.path.is_file():  # a pipe would be waited for
        raise UnreadableError("is no regular file")
    return next((reader for reader in READERS.values() if reader.takes(source)), None)


def _describe(source: Source, reading: Reading, said: Labels, *, several: bool) -> Labelled:
    whole, guessed = Path(os.path.realpath(source.root)), guess_labels(source.inside)
    root = clean(whole.stem if source.path == source.root else whole.name)
    if several and source.path != source.root:  # what has the same name in two folders is not the same
        guessed = guessed._replace(group=root if guessed.group is None else f"{root}/{guessed.group}")
    written = source.path.stat().st_mtime if reading.written is None else reading.written
    return Labelled(source.name, f"{whole.name}/{source.inside}", reading, said, guessed, root, written)


def _audit(files: Sequence[Labelled], ledger: Ledger) -> Iterator[Labelled]:
    """The files whose content and path do not contradict each other."""
    models = [*dict.fromkeys(file.reading.model for file in files if file.reading.model)]
    for file in files:
        model, said = file.reading.model, file.said.fill(file.guessed)
        wrong = find_contradiction(file.path, said, model, file.reading.revision, models)
        if wrong is None:
            yield file
        else:
            ledger.add(
                "file is about another model, seed or step than its path and was left out",
                "files are about another model, seed or step than their paths and were left out",
                f"{file.name} ({clean(wrong)})",
            )


def _list_values(files: Iterable[Labelled], ledger: Ledger) -> Iterator[tuple[Origin, Value]]:
    """All values with their labels, each from the first that says anything."""
    for file in files:
        content = describe_model(file.reading.model, file.reading.revision)
        last, lost = Labels(file.root, "0"), 0
        for row in file.reading.rows:
            group, seed, step = file.said.fill(row.labels).fill(content).fill(file.guessed).fill(last)
            if step is not None:
                origin = Origin(str(group), str(seed), row.unit, row.metric)
                written = file.written if row.written is None else row.written
                yield origin, Value(step, written, row.value, row.error, file.name)
            else:
                lost += 1
        if lost:
            what = "values without a step, in a column, the content or the path, which were left out"
            ledger.add(f"file has {what}", f"files have {what}", f"{file.name} ({lost:,})")
        _tell_labels(file, content, ledger)


def _tell_labels(file: Labelled, content: Labels, ledger: Ledger) -> None:
    """Say what the labels of a file are from."""
    rows = file.reading.rows[0].labels if file.reading.rows else Labels()
    sources = {"the pattern": file.said, "its rows": rows, "the model that it names": content, "its path": file.guessed}
    parts: list[str] = []
    for place, otherwise in enumerate(("the name of the folder", "nothing (0)", "nothing")):
        source = next((name for name, labels in sources.items() if labels[place] is not None), otherwise)
        parts.append(f"{Labels._fields[place]} from {source}")
    ledger.tell(f"file has its {', '.join(parts)}", f"files have their {', '.join(parts)}", file.name)
