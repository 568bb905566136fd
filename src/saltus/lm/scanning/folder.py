"""The folder of a scan: what is written appears whole or not at all, and a kill at any moment loses one checkpoint.

scan-HASH/
  scan.json                     what is asked
  runs.parquet                  the runs and the steps that the suite listed when the scan began
  prompts.parquet               the prompts, once a tokenizer has been seen; with the hash of their tokens
  checkpoints/SIZE/SEED/STEP.parquet   what one checkpoint said
  missing/SIZE/SEED/STEP.parquet       why one checkpoint could not be measured
  records/                      all of it, once the scan has finished
  finished.json                 versions, machine, duration; its presence says that the scan is done
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from saltus.errors import SaltusError
from saltus.lm.records import SCAN_TABLES, ScanRecords
from saltus.lm.specs import ScanSpec
from saltus.lm.suites.base import Run
from saltus.storage.files import explain_full_disk, hold, remove, write_file, write_folder
from saltus.storage.tables import read_json, read_table, verify

_PROMPT_KEY = ["capability", "prompt"]


class ScanFolder:
    """One scan on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def finished(self) -> bool:
        """Whether the scan is done; a finished scan is never written to again."""
        return (self.path / "finished.json").exists()

    def spec(self) -> ScanSpec:
        """The description that the scan was started from."""
        path = self.path / "scan.json"
        try:
            return ScanSpec(**read_json(path, self._damaged))
        except SaltusError as error:
            raise self._damaged(path, f"describes no scan ({error})") from None

    def require(self, spec: ScanSpec) -> None:
        """Refuse to go on if the scan was started from another description than `spec`."""
        if self.spec() != spec:
            raise SaltusError(
                f"{self.path / 'scan.json'} does not describe the scan {spec.identify('scan')} that was asked for; "
                f"undo what was changed in it, or move {self.path} away, and run the same command again"
            )

    @contextmanager
    def writing(self, spec: ScanSpec) -> Generator[None, None, None]:
        """Create the folder if it is not there and hold it against other writers."""
        with hold(self.path):
            if self.finished:
                raise SaltusError(f"{self.path} is finished already; delete it to scan again")
            for leftover in self.path.rglob("*.partial"):
                remove(leftover)
            if (self.path / "scan.json").exists():
                self.require(spec)
            else:
                content = json.dumps(spec.model_dump(mode="json"), indent=2)
                with explain_full_disk(self.path):
                    write_file(self.path / "scan.json", lambda path: path.write_text(content + "\n"))
            yield

    def list_runs(self, ask: Callable[[], Mapping[Run, Sequence[int]]]) -> dict[Run, list[int]]:
        """The runs with the steps that they list: as recorded, or as `ask` answers, which is then recorded.

        A suite that has grown since does not change a scan that has begun.
        """
        path = self.path / "runs.parquet"
        if not path.exists():
            rows = [{"size": run.size, "seed": run.seed, "steps": list(steps)} for run, steps in ask().items()]
            self._write(path, pa.Table.from_pylist(rows, schema=SCAN_TABLES["runs"]))
        rows = read_table(path, SCAN_TABLES["runs"], self._damaged).to_pylist()
        return {Run(row["size"], row["seed"]): row["steps"] for row in rows}

    def agree_on(self, prompts: pa.Table, digest: str, run: Run) -> None:
        """Record the prompts, or refuse them if a run before was asked others; `digest` is of their tokens."""
        path, key = self.path / "prompts.parquet", b"tokens_sha256"
        if not path.exists():
            self._write(path, prompts.replace_schema_metadata({key: digest.encode()}))
            return
        recorded = read_table(path, SCAN_TABLES["prompts"], self._damaged)
        if not recorded.equals(prompts) or (recorded.schema.metadata or {}).get(key) != digest.encode():
            raise SaltusError(
                f"the tokenizer of {run} makes other prompts than those that {self.path} began with; scan runs with "
                "different tokenizers each on its own (sizes, seeds)"
            )

    def commit(self, run: Run, step: int, answers: Mapping[str, Sequence[Any]]) -> None:
        """Record what one checkpoint said: the columns of the probes, each [prompt], without size, seed and step."""
        rows = len(answers["prompt"])
        columns = {"size": [run.size] * rows, "seed": [run.seed] * rows, "step": [step] * rows, **answers}
        self._write(self._part("checkpoints", run, step), pa.table(columns, schema=SCAN_TABLES["probes"]))

    def commit_missing(self, run: Run, step: int, reason: str) -> None:
        """Record that one checkpoint cannot be measured."""
        row = {"size": run.size, "seed": run.seed, "step": step, "reason": reason}
        self._write(self._part("missing", run, step), pa.Table.from_pylist([row], schema=SCAN_TABLES["missing"]))

    def measured(self, run: Run) -> dict[int, pa.Table]:
        """By step, increasing: the recorded answers of one run, verified."""
        steps = self._list_parts("checkpoints", run)
        if not steps:
            return {}
        prompts = read_table(self.path / "prompts.parquet", SCAN_TABLES["prompts"], self._damaged).select(_PROMPT_KEY)
        return {step: self._read_part("probes", "checkpoints", run, step, prompts) for step in steps}

    def missing(self, run: Run) -> dict[int, str]:
        """By step, increasing: why a checkpoint could not be measured."""
        steps = self._list_parts("missing", run)
        return {step: self._read_part("missing", "missing", run, step)["reason"][0].as_py() for step in steps}

    def finish(self, summary: dict[str, Any]) -> None:
        """Gather the parts into `records/` and mark the scan as done."""
        with explain_full_disk(self.path):
            remove(self.path / "records")  # of an earlier call that was ended before its last line
            tables = self._gather()
            write_folder(
                self.path / "records",
                lambda folder: [_write_table(table, folder / f"{name}.parquet") for name, table in tables.items()],
            )
            content = json.dumps(summary, indent=2)
            write_file(self.path / "finished.json", lambda path: path.write_text(content + "\n"))

    def records(self) -> ScanRecords:
        """All rows: of a finished scan, or of what an unfinished one has measured."""
        folder = self.path / "records"
        if not folder.exists():
            return ScanRecords(self.path, self.spec(), self.finished, **self._gather())
        verify(folder, self._damaged)
        tables = {
            name: read_table(folder / f"{name}.parquet", SCAN_TABLES[name], self._damaged) for name in SCAN_TABLES
        }
        return ScanRecords(self.path, self.spec(), self.finished, **tables)

    def summary(self) -> dict[str, Any]:
        """What `finish` was given: versions, machine, duration."""
        return read_json(self.path / "finished.json", self._damaged)

    def _gather(self) -> dict[str, pa.Table]:
        if not (self.path / "prompts.parquet").exists():
            raise SaltusError(
                f"{self.path} has no measured checkpoint; scan for longer, or a suite that has usable ones"
            )
        runs = read_table(self.path / "runs.parquet", SCAN_TABLES["runs"], self._damaged)
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
            "prompts": read_table(self.path / "prompts.parquet", SCAN_TABLES["prompts"], self._damaged),
            "runs": runs,
        }

    def _part(self, kind: str, run: Run, step: int) -> Path:
        return self._parts(kind, run) / f"{step:08d}.parquet"

    def _parts(self, kind: str, run: Run) -> Path:
        return self.path / kind / quote(run.size, safe="") / quote(run.seed, safe="")

    def _list_parts(self, kind: str, run: Run) -> list[int]:
        return sorted(int(path.stem) for path in self._parts(kind, run).glob("*.parquet") if path.stem.isdigit())

    def _read_part(self, table: str, kind: str, run: Run, step: int, prompts: pa.Table | None = None) -> pa.Table:
        """One part, which must be of this checkpoint and, if it holds answers, to these prompts."""
        path = self._part(kind, run, step)
        part = read_table(path, SCAN_TABLES[table], self._damaged)
        for name, expected in (("size", run.size), ("seed", run.seed), ("step", step)):
            if part[name].unique().to_pylist() != [expected]:
                raise self._damaged(path, f"is not of {run} at step {step}")
        if prompts is not None and not part.select(_PROMPT_KEY).equals(prompts):
            raise self._damaged(path, "does not answer the prompts of the scan")
        return part

    def _write(self, path: Path, table: pa.Table) -> None:
        with explain_full_disk(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, lambda partial: _write_table(table, partial))

    def _damaged(self, path: Path, what: str) -> SaltusError:
        """What is wrong with a file, and the cheapest way out."""
        parts = path.relative_to(self.path).parts
        again = "and run the same command again"
        if parts[0] == "records":
            remedy = f"delete {self.path / 'records'}: the records are then gathered from the checkpoints"
        elif self.finished and parts[0] in ("checkpoints", "missing"):
            remedy = f"delete {self.path} {again}: it starts anew"
        elif parts[0] in ("checkpoints", "missing"):
            remedy = f"delete it {again}: what it held is measured again where it is needed"
        elif parts[0] == "scan.json" and not self.finished:
            remedy = f"delete it {again}: it is written anew, and the scan resumes"
        elif parts[0] == "finished.json":
            remedy = f"delete it {again}: it is written anew"
        else:
            remedy = f"delete {self.path} {again}: it starts anew"
        return SaltusError(f"{path} {what}; {remedy}")


def list_scans(root: Path) -> list[ScanFolder]:
    """The scans under `root`, by name."""
    return [ScanFolder(path.parent) for path in sorted(root.glob("*/scan.json"))]


def _write_table(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
