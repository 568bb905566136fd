"""Files of other people, read into one set of curves."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from saltus.curves import Curves, Rule
from saltus.errors import SaltusError
from saltus.ingest.audit import find_contradiction
from saltus.ingest.gather import Origin, Value, gather
from saltus.ingest.ledger import Ledger
from saltus.ingest.paths import compile_pattern, describe_model, guess_labels, read_pattern
from saltus.ingest.readers import READERS
from saltus.ingest.rows import Labels, Reading, Source, UnreadableError, clean
from saltus.specs.reading import ReadSpec

MOST_VALUES = 5_000_000
"""Of one call."""

_SHOWN = 3


@dataclass(frozen=True)
class Labelled:
    """What was read from a file, and what its path says of it."""

    source: Source
    reading: Reading
    said: Labels
    """By the pattern, which holds whatever the content says."""
    guessed: Labels
    """From the usual words in the path, where nothing else says it."""
    written: float
    """When the results were made, in seconds since the epoch."""


def read_files(spec: ReadSpec, rule: Rule | None = None) -> Curves:
    """Read all files that a description names; what is wrong with some of them is in the notes of the curves.

    Labels come from the pattern; otherwise from columns; otherwise from the model that the content names; otherwise
    from the path. A seed that nothing names is `0`.

    Raises:
        SaltusError: if there is nothing that can be read.

    """
    ledger = Ledger()
    files = _read_all(spec, ledger)
    values: dict[Origin, list[Value]] = defaultdict(list)
    count = 0
    for labelled in _audit(files, ledger):
        for origin, value in _label(labelled, several=len(spec.paths) > 1, ledger=ledger):
            values[origin].append(value)
            count += 1
    if count > MOST_VALUES:
        raise SaltusError(
            f"there are {count:,} values, and at most {MOST_VALUES:,} are read at once; read fewer files, or choose "
            "columns with value"
        )
    if not values:
        said = "; ".join(ledger.sentences[:_SHOWN])
        raise SaltusError(f"{', '.join(spec.paths)}: there is nothing to read" + (f"; {said}" if said else ""))
    return gather(values, spec, rule, ledger)


def list_sources(paths: Sequence[str]) -> Iterator[Source]:
    """All regular files at and below some paths, by name; those whose name begins with a dot are left out.

    Raises:
        SaltusError: if a path is not there.

    """
    for root in map(Path, paths):
        if root.is_file():
            yield Source(root, root)
        elif root.is_dir():
            for folder, folders, names in os.walk(root):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                found = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
                yield from (Source(path, root) for path in found if path.is_file())
        else:
            raise SaltusError(f"{root} is no file and no folder; give the path of results")


def _read_all(spec: ReadSpec, ledger: Ledger) -> list[Labelled]:
    """What is in all files that a reader takes, whether or not their labels are right."""
    pattern = compile_pattern(spec.pattern) if spec.pattern is not None else None
    files: list[Labelled] = []
    for source in list_sources(spec.paths):
        said = Labels() if pattern is None else read_pattern(pattern, source.path.as_posix())
        try:
            reader = next((reader for reader in READERS.values() if reader.takes(source)), None)
            if reader is None:
                one = "file is of no kind that is read and was left alone"
                ledger.tell(one, "files are of no kind that is read and were left alone", source.name)
            elif said is None:
                one = "file does not fit the pattern and was left out"
                ledger.add(one, "files do not fit the pattern and were left out", source.name)
            else:
                reading, changed = reader.read(source, spec, ledger), source.path.stat().st_mtime
                written = changed if reading.written is None else reading.written
                files.append(Labelled(source, reading, said, guess_labels(source.inside), written))
        except (UnreadableError, OSError) as error:
            reason = error.strerror or "cannot be opened" if isinstance(error, OSError) else str(error)
            place = f"{source.name} ({clean(reason)})"
            ledger.add("file cannot be read and was left out", "files cannot be read and were left out", place)
    return files


def _audit(files: Sequence[Labelled], ledger: Ledger) -> Iterator[Labelled]:
    """The files whose content and path do not contradict each other."""
    models = [*dict.fromkeys(file.reading.model for file in files if file.reading.model is not None)]
    for file in files:
        model = file.reading.model
        path = f"{file.source.root.name}/{file.source.inside}"
        wrong = model and find_contradiction(path, file.said.fill(file.guessed), model, file.reading.revision, models)
        if not wrong:
            yield file
        else:
            ledger.add(
                "file is about another model, seed or step than its path and was left out",
                "files are about another model, seed or step than their paths and were left out",
                f"{file.source.name} ({clean(wrong)})",
            )


def _label(file: Labelled, *, several: bool, ledger: Ledger) -> Iterator[tuple[Origin, Value]]:
    """The values of a file with their labels, each from the first that says anything."""
    reading, source = file.reading, file.source
    content = describe_model(reading.model, reading.revision) if reading.model is not None else Labels()
    whole = source.root.resolve()
    root, path = clean(whole.stem if source.path == source.root else whole.name), file.guessed
    if several and source.path != source.root:
        path = path._replace(group=root if path.group is None else f"{root}/{path.group}")
    last = Labels(root, "0")
    for row in reading.rows:
        group, seed, step = file.said.fill(row.labels).fill(content).fill(path).fill(last)
        if step is not None:
            origin = Origin(str(group), str(seed), row.unit, row.metric)
            yield origin, Value(step, file.written, row.value, row.error)
        else:
            what = "no step in a column, its content or its path, and was left out"
            ledger.add(f"value has {what}", f"values have {what.replace('was', 'were')}", source.name)
    first = reading.rows[0].labels if reading.rows else Labels()
    sources = {"the pattern": file.said, "its rows": first, "the model that it names": content, "its path": path}
    nowhere = Labels("the name of the folder", "nothing (0)")
    parts = [
        f"{part} from {next((name for name, labels in sources.items() if labels[place] is not None), nowhere[place])}"
        for place, part in enumerate(Labels._fields)
    ]
    ledger.tell(f"file has its {', '.join(parts)}", f"files have their {', '.join(parts)}", source.name)
