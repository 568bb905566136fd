"""The folder of a scan: a kill at any moment loses one checkpoint.

scan-HASH/
  scan.json                     what is asked
  runs.parquet                  the runs and the steps that the suite listed when the scan began
  prompts.parquet               the prompts, once a tokenizer has been seen; with the hash of their tokens
  checkpoints/SIZE/SEED/STEP.parquet   what one checkpoint said
  missing/SIZE/SEED/STEP.parquet       why one checkpoint could not be measured, or is not to be used
  records/                      all of it, once the scan has finished
  finished.json                 versions, machine, duration; its presence says that the scan is done
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pyarrow as pa

from saltus.errors import SaltusError
from saltus.lm.scanning.records import SCAN_TABLES, ScanRecords, state_rule
from saltus.lm.suites.base import Run
from saltus.specs.checkpoints import ScanSpec
from saltus.storage.files import remove
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import read_table, verify, write_table

_PROMPT_KEY = ["capability", "prompt"]
_PARTS = {"probes": "checkpoints", "missing": "missing"}
"""By table, the folder that has one file of it for each checkpoint."""


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

    def list_runs(self, ask: Callable[[], Mapping[Run, Sequence[int]]]) -> dict[Run, list[int]]:
        """The runs with the steps that they list: as recorded, or as `ask` answers, which is then recorded.

        A suite that has grown since does not change a scan that has begun.
        """
        path = self.path / "runs.parquet"
        if not path.exists():
            rows = [{"size": run.size, "seed": run.seed, "steps": list(steps)} for run, steps in ask().items()]
            self._write_table(path, pa.Table.from_pylist(rows, schema=SCAN_TABLES["runs"]))
        return {Run(row["size"], row["seed"]): row["steps"] for row in self._read_table("runs").to_pylist()}

    @property
    def has_prompts(self) -> bool:
        """Whether the prompts are recorded."""
        return (self.path / "prompts.parquet").exists()

    def agree_on(self, prompts: pa.Table, digest: str, run: Run) -> None:
        """Record the prompts, or refuse them if a run before was asked others; `digest` is of their tokens."""
        path, key = self.path / "prompts.parquet", b"tokens_sha256"
        if not self.has_prompts:
            self._write_table(path, prompts.replace_schema_metadata({key: digest.encode()}))
            return
        recorded = self._read_table("prompts")
        if not recorded.equals(prompts) or (recorded.schema.metadata or {}).get(key) != digest.encode():
            raise SaltusError(
                f"the tokenizer of {run} makes other prompts than those that {self.path} began with; scan runs with "
                "different tokenizers each on its own (sizes, seeds)"
            )

    def commit(self, run: Run, step: int, answers: Mapping[str, Sequence[Any]]) -> None:
        """Record what one checkpoint said: the columns of the probes, each [prompt], without size, seed and step."""
        rows = len(answers["prompt"])
        columns = {"size": [run.size] * rows, "seed": [run.seed] * rows, "step": [step] * rows, **answers}
        self._write_table(self._part("checkpoints", run, step), pa.table(columns, schema=SCAN_TABLES["probes"]))

    def commit_missing(self, run: Run, step: int, reason: str) -> None:
        """Record that one checkpoint cannot be measured, or that what it said is not to be used."""
        row = {"size": run.size, "seed": run.seed, "step": step, "reason": reason}
        self._write_table(self._part("missing", run, step), pa.Table.from_pylist([row], schema=SCAN_TABLES["missing"]))

    def measured_steps(self, run: Run) -> list[int]:
        """The steps, increasing, of the checkpoints that were measured and are to be used."""
        missing = self._list_parts("missing", run)
        return [step for step in self._list_parts("checkpoints", run) if step not in missing]

    def measured(self, run: Run) -> dict[int, pa.Table]:
        """By step, increasing: the recorded answers of one run, verified."""
        steps = self.measured_steps(run)
        if not steps:
            return {}
        prompts = self._read_table("prompts").select(_PROMPT_KEY)
        return {step: self._read_part("probes", run, step, prompts) for step in steps}

    def missing(self, run: Run) -> dict[int, str]:
        """By step, increasing: why a checkpoint could not be measured."""
        steps = self._list_parts("missing", run)
        return {step: self._read_part("missing", run, step)["reason"][0].as_py() for step in steps}

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
            case "records" if not any(self.path.glob("checkpoints/*/*/*.parquet")):
                return f"bring it back from where the records were copied from, or move {self.path} away {AGAIN}"
            case "checkpoints" | "missing":
                return f"delete it {AGAIN}: what it held is measured again where it is needed"
            case "prompts.parquet" | "runs.parquet":
                return f"delete it {AGAIN}: it is written anew, and everything else is kept"
            case _:
                return super().remedy(path)

    def _gather(self) -> dict[str, pa.Table]:
        if not any(self.path.glob("checkpoints/*/*/*.parquet")):
            raise SaltusError(
                f"{self.path} has no measured checkpoint; scan for longer, or a suite that has usable ones"
            )
        runs = self._read_table("runs")
        several = [Run(row["size"], row["seed"]) for row in runs.select(["size", "seed"]).to_pylist()]
        probes = [table for run in several for table in self.measured(run).values()]
        missing = [
            {"size": run.size, "seed": run.seed, "step": step, "reason": reason}
            for run in several
            for step, reason in self.missing(run).items()
        ]
        return {
            "probes": pa.concat_tables([SCAN_TABLES["probes"].empty_table(), *probes]),
            "missing": pa.Table.from_pylist(missing, schema=SCAN_TABLES["missing"]),
            "prompts": self._read_table("prompts"),
            "runs": runs,
        }

    def _read_records(self) -> dict[str, pa.Table]:
        folder = self.path / "records"
        verify(folder, self.damaged)
        return {
            name: read_table(folder / f"{name}.parquet", schema, self.damaged) for name, schema in SCAN_TABLES.items()
        }

    def _restore(self, tables: Mapping[str, pa.Table]) -> None:
        """Write anew what the records were gathered from, where it is gone or damaged."""
        for name in ("runs", "prompts"):
            if not _is_readable(self._read_table, name):
                self._write_table(self.path / f"{name}.parquet", tables[name])
        for name, kind in _PARTS.items():
            for run, step, rows in _split_checkpoints(tables[name]):
                if not _is_readable(self._read_part, name, run, step):
                    self._write_table(self._part(kind, run, step), rows)

    def _part(self, kind: str, run: Run, step: int) -> Path:
        return self._parts(kind, run) / f"{step:08d}.parquet"

    def _parts(self, kind: str, run: Run) -> Path:
        return self.path / kind / quote(run.size, safe="") / quote(run.seed, safe="")

    def _list_parts(self, kind: str, run: Run) -> list[int]:
        return sorted(int(path.stem) for path in self._parts(kind, run).glob("*.parquet") if path.stem.isdigit())

    def _read_part(self, table: str, run: Run, step: int, prompts: pa.Table | None = None) -> pa.Table:
        """One part, which must be of this checkpoint and, if it holds answers, to these prompts."""
        path = self._part(_PARTS[table], run, step)
        part = read_table(path, SCAN_TABLES[table], self.damaged)
        for name, expected in (("size", run.size), ("seed", run.seed), ("step", step)):
            if part[name].unique().to_pylist() != [expected]:
                raise self.damaged(path, f"is not of {run} at step {step}")
        if prompts is not None and not part.select(_PROMPT_KEY).equals(prompts):
            raise self.damaged(path, "does not answer the prompts of the scan")
        return part

    def _read_table(self, name: str) -> pa.Table:
        return read_table(self.path / f"{name}.parquet", SCAN_TABLES[name], self.damaged)

    def _write_table(self, path: Path, table: pa.Table) -> None:
        self._write(path, lambda partial: write_table(table, partial))


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
