"""The folder of a scan: a kill at any moment loses one checkpoint.

scan-HASH/
  scan.json                     what is asked
  runs.parquet                  the runs and the steps that the suite lists, or listed once
  prompts.parquet               the prompts, once a tokenizer has been seen; with the hash of their tokens
  checkpoints/SIZE/SEED/STEP.parquet   what one checkpoint said; with the size, time and hash of its files
  patterns/SIZE/SEED/STEP.parquet      what its heads do, where known patterns are asked for
  missing/SIZE/SEED/STEP.parquet       why one checkpoint could not be measured, or is not to be used
  records/                      all of it, once the scan has finished
  finished.json                 versions, machine, duration; its presence says that the scan is done
"""

import json
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pyarrow as pa

from saltus.errors import SaltusError
from saltus.lm.scanning.records import LATER, SCAN_TABLES, MissingKind, ScanRecords, state_rule
from saltus.lm.suites.base import Run
from saltus.lm.suites.content import Content, Stamp
from saltus.specs.checkpoints import ScanSpec
from saltus.storage.files import remove
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import read_table, verify, write_table

_PROMPT_KEY = ["capability", "prompt"]
_KEY = {"size", "seed", "step"}
_SOURCE = b"checkpoint"
"""The key in the metadata of a part under which the size, time and hash of the checkpoint's files are."""
_LATER = ("checkpoints", "patterns")
"""Tables that version 0.1 did not write."""
_PARTS = {"probes": "checkpoints", "missing": "missing", "patterns": "patterns"}
"""By table, the folder that has one file of it for each checkpoint."""


Steps = Mapping[int, int | None]
"""Steps of a run, with the tokens that it had seen; None where that is not known."""


@dataclass(frozen=True)
class Missing:
    """Why a checkpoint says nothing."""

    reason: str
    kind: MissingKind
    stamp: Stamp | None
    """Of its files when it was asked for; None where there were none, or where it is not known."""


class ScanFolder(Folder[ScanSpec]):
    """One scan on disk."""

    kind: ClassVar[str] = "scan"
    description: ClassVar[str] = "scan.json"
    specs: ClassVar[type[ScanSpec]] = ScanSpec

    @contextmanager
    def writing(self, spec: ScanSpec, *, again: bool = False) -> Generator[None, None, None]:
        """As `Folder.writing`; what was committed and is gone or damaged is written anew from the records."""
        with super().writing(spec, again=again):
            if self.gathered:
                self._restore(self._read_records())
            yield

    def runs(self) -> dict[Run, list[int]]:
        """The recorded runs with their steps, increasing."""
        return {run: list(steps) for run, steps in self._read_runs().items()}

    def list_runs(self, ask: Callable[[], Mapping[Run, Steps]]) -> dict[Run, list[int]]:
        """The runs with their steps, increasing: what `ask` lists, and what it listed in earlier calls."""
        recorded = self._read_runs() if (self.path / "runs.parquet").exists() else {}
        listed = ask()
        merged = {run: {**recorded.get(run, {}), **listed.get(run, {})} for run in [*listed, *recorded]}
        runs = {run: {step: steps[step] for step in sorted(steps)} for run, steps in merged.items()}
        if runs != recorded:
            rows = [
                {"size": run.size, "seed": run.seed, "steps": list(steps), "tokens": list(steps.values())}
                for run, steps in runs.items()
            ]
            self._write_table(self.path / "runs.parquet", pa.Table.from_pylist(rows, schema=SCAN_TABLES["runs"]))
        return {run: list(steps) for run, steps in runs.items()}

    def _read_runs(self) -> dict[Run, dict[int, int | None]]:
        return {
            Run(row["size"], row["seed"]): dict(zip_longest(row["steps"], row["tokens"] or ()))
            for row in self._read_table("runs").to_pylist()
        }

    @property
    def has_prompts(self) -> bool:
        """Whether the prompts are recorded."""
        return (self.path / "prompts.parquet").exists()

    def agree_on(self, prompts: pa.Table, digest: str) -> bool:
        """Record the prompts, if none are yet; whether these are the recorded ones. `digest` is of their tokens."""
        path, key = self.path / "prompts.parquet", b"tokens_sha256"
        if not self.has_prompts:
            self._write_table(path, prompts.replace_schema_metadata({key: digest.encode()}))
        recorded = self._read_table("prompts")
        return recorded.equals(prompts) and (recorded.schema.metadata or {}).get(key) == digest.encode()

    def commit(
        self,
        run: Run,
        step: int,
        answers: Mapping[str, Sequence[Any]],
        content: Content,
        note: str = "",
        patterns: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Record what one checkpoint said, what its files were, and what was mended when they were loaded.

        `answers` are the columns of the probes, each [prompt], without size, seed and step; `patterns` are rows of
        their table, likewise.
        """
        if patterns:
            found = [{"size": run.size, "seed": run.seed, "step": step, **row} for row in patterns]
            table = pa.Table.from_pylist(found, schema=SCAN_TABLES["patterns"])
            self._write_table(self._part("patterns", run, step), table)
        rows = len(answers["prompt"])
        columns = {"size": [run.size] * rows, "seed": [run.seed] * rows, "step": [step] * rows, **answers}
        table = pa.table(columns, schema=SCAN_TABLES["probes"])
        self._write_probes(run, step, table, {**vars(content), "note": note})
        remove(self._part("missing", run, step))

    def renew(self, run: Run, step: int, content: Content) -> None:
        """Record that the files of a measured checkpoint have another time now, and are the same."""
        table = self._read_part("probes", run, step)
        self._write_probes(run, step, table, {**_read_source(table), **vars(content)})

    def commit_missing(
        self, run: Run, step: int, reason: str, kind: MissingKind = "fault", stamp: Stamp | None = None
    ) -> None:
        """Record that one checkpoint cannot be measured, or that what it said is not to be used."""
        size, modified = stamp or (None, None)
        row = {"size": run.size, "seed": run.seed, "step": step, "reason": reason, "kind": kind}
        table = pa.Table.from_pylist([{**row, "bytes": size, "modified": modified}], schema=SCAN_TABLES["missing"])
        self._write_table(self._part("missing", run, step), table)

    @property
    def has_answers(self) -> bool:
        """Whether any checkpoint was measured, to be used or not."""
        return any(self.path.glob("checkpoints/*/*/*.parquet"))

    def answered_steps(self, run: Run) -> list[int]:
        """The steps, increasing, of the checkpoints that were measured, to be used or not."""
        return self._list_parts("checkpoints", run)

    def measured_steps(self, run: Run) -> list[int]:
        """The steps, increasing, of the checkpoints that were measured and are to be used."""
        missing = self._list_parts("missing", run)
        return [step for step in self.answered_steps(run) if step not in missing]

    def measured(self, run: Run) -> dict[int, pa.Table]:
        """By step, increasing: the recorded answers of one run, verified."""
        steps = self.measured_steps(run)
        if not steps:
            return {}
        prompts = self._read_table("prompts").select(_PROMPT_KEY)
        return {step: self._read_part("probes", run, step, prompts) for step in steps}

    def missing(self, run: Run) -> dict[int, Missing]:
        """By step, increasing: the checkpoints that could not be measured, or are not to be used."""
        return {step: _read_missing(self._read_part("missing", run, step)) for step in self._list_parts("missing", run)}

    def forget_missing(self, run: Run, step: int) -> None:
        """Take back that one checkpoint is not to be used; if it was measured, it is used again."""
        remove(self._part("missing", run, step))

    def content(self, run: Run, step: int) -> Content | None:
        """What the files of a measured checkpoint were; None where version 0.1 measured it."""
        source = _read_source(self._read_part("probes", run, step))
        return Content(source["bytes"], source["modified"], source["sha256"]) if source else None

    def adopt(self, parts: Sequence["ScanFolder"]) -> None:
        """Take over what scans of some of its runs each have measured; the folder must be held.

        Raises:
            SaltusError: if they did not ask the same prompts.

        """
        self.list_runs(lambda: {run: steps for part in parts for run, steps in part._read_runs().items()})
        for part in parts:
            for path in sorted(part.path.glob("*/*/*/*.parquet")):
                self._copy(path, self.path / path.relative_to(part.path))
            if not self.has_prompts:
                self._copy(part.path / "prompts.parquet", self.path / "prompts.parquet")
            if not (own := self._read_table("prompts")).equals(part._read_table("prompts"), check_metadata=True):
                raise SaltusError(
                    f"{part.path} asked other prompts than the {len(own)} of {self.path}; scan runs with different "
                    "tokenizers each on its own (sizes, seeds)"
                )

    def _copy(self, path: Path, to: Path) -> None:
        self._write(to, lambda partial: shutil.copyfile(path, partial))

    def reopen(self) -> None:
        """Take back that the scan has finished; its records stay until it has again."""
        remove(self.path / "finished.json")

    def conclude(self) -> None:
        """Gather the parts into `records/`, in place of what an earlier call gathered."""
        remove(self.path / "records")
        super().conclude()

    def gather(self, folder: Path) -> None:
        """Fill `records/` from the parts."""
        for name, table in self._gather().items():
            write_table(table, folder / f"{name}.parquet")

    def records(self) -> ScanRecords:
        """All rows: of a finished scan, or of what an unfinished one has measured."""
        spec = self.spec()
        tables = self._read_records() if self.gathered else self._gather()
        summary = self.summary() if self.finished else None
        return ScanRecords(self.path, spec, **tables, summary=summary, rule=state_rule(spec))

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; the suite and its checkpoints are asked again."""
        match path.relative_to(self.path).parts[0]:
            case "records" if not self.has_answers:
                return f"bring it back from where the records were copied from, or move {self.path} away {AGAIN}"
            case "checkpoints" | "missing":
                return f"delete it {AGAIN}: what it held is measured again where it is needed"
            case "patterns":
                both = self.path / "checkpoints" / path.relative_to(self.path / "patterns")
                return f"delete it and {both} {AGAIN}: that checkpoint is measured again"
            case "prompts.parquet" | "runs.parquet":
                return f"delete it {AGAIN}: it is written anew, and everything else is kept"
            case _:
                return super().remedy(path)

    def _gather(self) -> dict[str, pa.Table]:
        if not self.has_answers:
            raise SaltusError(f"{self.path} has no measured checkpoint{self._tell_missing()}")
        runs = list(self.runs())
        measured = [(run, step, table) for run in runs for step, table in self.measured(run).items()]
        sources = [
            {"size": run.size, "seed": run.seed, "step": step, **source}
            for run, step, table in measured
            if (source := _read_source(table))
        ]
        missing = [self._read_part("missing", run, step) for run in runs for step in self._list_parts("missing", run)]
        patterns = [
            self._read_part("patterns", run, step)
            for run, step, _ in measured
            if self._part("patterns", run, step).exists()
        ]
        return {
            "probes": pa.concat_tables([SCAN_TABLES["probes"].empty_table(), *(table for *_, table in measured)]),
            "checkpoints": pa.Table.from_pylist(sources, schema=SCAN_TABLES["checkpoints"]),
            "patterns": pa.concat_tables([SCAN_TABLES["patterns"].empty_table(), *patterns]),
            "missing": pa.concat_tables([SCAN_TABLES["missing"].empty_table(), *missing]),
            "prompts": self._read_table("prompts"),
            "runs": self._read_table("runs"),
        }

    def _tell_missing(self) -> str:
        for run in self.runs() if (self.path / "runs.parquet").exists() else ():
            for step, missing in self.missing(run).items():
                return f": {run} at step {step} could not be measured ({missing.reason}); mend that {AGAIN}"
        return f"; give it more time, or a suite that has some, {AGAIN}"

    def _read_records(self) -> dict[str, pa.Table]:
        folder = self.path / "records"
        verify(folder, self.damaged)
        there = {name for name in SCAN_TABLES if name not in _LATER or (folder / f"{name}.parquet").exists()}
        return {
            name: self._read_parquet(folder / f"{name}.parquet", name) if name in there else schema.empty_table()
            for name, schema in SCAN_TABLES.items()
        }

    def _restore(self, tables: Mapping[str, pa.Table]) -> None:
        """Write anew what the records were gathered from, where it is gone or damaged."""
        for name in ("runs", "prompts"):
            if not _is_readable(self._read_table, name):
                self._write_table(self.path / f"{name}.parquet", tables[name])
        sources = {(run, step): rows.to_pylist()[0] for run, step, rows in _split_checkpoints(tables["checkpoints"])}
        for run, step, rows in _split_checkpoints(tables["probes"]):
            if not _is_readable(self._read_part, "probes", run, step):
                source = sources.get((run, step), {})
                self._write_probes(run, step, rows, {name: source[name] for name in source.keys() - _KEY})
        for name in ("missing", "patterns"):
            for run, step, rows in _split_checkpoints(tables[name]):
                if not _is_readable(self._read_part, name, run, step):
                    self._write_table(self._part(name, run, step), rows)

    def _part(self, kind: str, run: Run, step: int) -> Path:
        return self._parts(kind, run) / f"{step:08d}.parquet"

    def _parts(self, kind: str, run: Run) -> Path:
        return self.path / kind / quote(run.size, safe="") / quote(run.seed, safe="")

    def _list_parts(self, kind: str, run: Run) -> list[int]:
        return sorted(int(path.stem) for path in self._parts(kind, run).glob("*.parquet") if path.stem.isdigit())

    def _read_part(self, table: str, run: Run, step: int, prompts: pa.Table | None = None) -> pa.Table:
        """One part, which must be of this checkpoint and, if it holds answers, to these prompts."""
        path = self._part(_PARTS[table], run, step)
        part = self._read_parquet(path, table)
        for name, expected in (("size", run.size), ("seed", run.seed), ("step", step)):
            if part[name].unique().to_pylist() != [expected]:
                raise self.damaged(path, f"is not of {run} at step {step}")
        if prompts is not None and not part.select(_PROMPT_KEY).equals(prompts):
            raise self.damaged(path, "does not answer the prompts of the scan")
        return part

    def _write_probes(self, run: Run, step: int, table: pa.Table, source: Mapping[str, Any]) -> None:
        metadata = {_SOURCE: json.dumps(dict(source)).encode()} if source else None
        self._write_table(self._part("checkpoints", run, step), table.replace_schema_metadata(metadata))

    def _read_table(self, name: str) -> pa.Table:
        return self._read_parquet(self.path / f"{name}.parquet", name)

    def _read_parquet(self, path: Path, name: str) -> pa.Table:
        return read_table(path, SCAN_TABLES[name], self.damaged, LATER.get(name, ()))

    def _write_table(self, path: Path, table: pa.Table) -> None:
        self._write(path, lambda partial: write_table(table, partial))


def _read_source(part: pa.Table) -> dict[str, Any]:
    """Of a measured checkpoint the size, time and hash of its files, and the note; empty if they are not known."""
    return json.loads((part.schema.metadata or {}).get(_SOURCE, b"{}"))


def _read_missing(part: pa.Table) -> Missing:
    [row] = part.to_pylist()
    kind = row["kind"] or ("excluded" if row["reason"].startswith("audit: ") else "fault")  # as version 0.1 wrote it
    return Missing(row["reason"], kind, None if row["bytes"] is None else (row["bytes"], row["modified"]))


def _split_checkpoints(table: pa.Table) -> Iterator[tuple[Run, int, pa.Table]]:
    """The rows of each checkpoint, in their order."""
    keys = list(zip(*(table[name].to_pylist() for name in ("size", "seed", "step")), strict=True))
    for size, seed, step in dict.fromkeys(keys):
        yield Run(size, seed), step, table.filter(pa.array([key == (size, seed, step) for key in keys]))


def _is_readable(read: Callable[..., pa.Table], *arguments: Any) -> bool:
    try:
        read(*arguments)
    except SaltusError:
        return False
    return True
