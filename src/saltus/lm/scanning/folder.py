"""The folder of a scan: a kill at any moment loses one checkpoint.

scan-HASH/
  scan.json                     what is asked
  runs.parquet                  the runs and the steps that the suite listed when the scan began
  prompts.parquet               the prompts, once a tokenizer has been seen; with the hash of their tokens
  checkpoints/SIZE/SEED/STEP.parquet   what one checkpoint said
  missing/SIZE/SEED/STEP.parquet       why one checkpoint could not be measured
  records/                      all of it, once the scan has finished
  finished.json                 versions, machine, duration; its presence says that the scan is done
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pyarrow as pa

from saltus.errors import SaltusError
from saltus.lm.scanning.records import SCAN_TABLES, ScanRecords, state_rule
from saltus.lm.suites.base import Run
from saltus.specs.checkpoints import ScanSpec
from saltus.storage.files import remove
from saltus.storage.folder import Folder
from saltus.storage.tables import read_table, verify, write_table

_PROMPT_KEY = ["capability", "prompt"]


class ScanFolder(Folder[ScanSpec]):
    """One scan on disk."""

    kind: ClassVar[str] = "scan"
    description: ClassVar[str] = "scan.json"
    specs: ClassVar[type[ScanSpec]] = ScanSpec

    def list_runs(self, ask: Callable[[], Mapping[Run, Sequence[int]]]) -> dict[Run, list[int]]:
        """The runs with the steps that they list: as recorded, or as `ask` answers, which is then recorded.

        A suite that has grown since does not change a scan that has begun.
        """
        path = self.path / "runs.parquet"
        if not path.exists():
            rows = [{"size": run.size, "seed": run.seed, "steps": list(steps)} for run, steps in ask().items()]
            self._write_table(path, pa.Table.from_pylist(rows, schema=SCAN_TABLES["runs"]))
        rows = read_table(path, SCAN_TABLES["runs"], self.damaged).to_pylist()
        return {Run(row["size"], row["seed"]): row["steps"] for row in rows}

    def agree_on(self, prompts: pa.Table, digest: str, run: Run) -> None:
        """Record the prompts, or refuse them if a run before was asked others; `digest` is of their tokens."""
        path, key = self.path / "prompts.parquet", b"tokens_sha256"
        if not path.exists():
            self._write_table(path, prompts.replace_schema_metadata({key: digest.encode()}))
            return
        recorded = read_table(path, SCAN_TABLES["prompts"], self.damaged)
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
        """Record that one checkpoint cannot be measured."""
        row = {"size": run.size, "seed": run.seed, "step": step, "reason": reason}
        self._write_table(self._part("missing", run, step), pa.Table.from_pylist([row], schema=SCAN_TABLES["missing"]))

    def measured(self, run: Run) -> dict[int, pa.Table]:
        """By step, increasing: the recorded answers of one run, verified."""
        steps = self._list_parts("checkpoints", run)
        if not steps:
            return {}
        prompts = read_table(self.path / "prompts.parquet", SCAN_TABLES["prompts"], self.damaged).select(_PROMPT_KEY)
        return {step: self._read_part("probes", "checkpoints", run, step, prompts) for step in steps}

    def missing(self, run: Run) -> dict[int, str]:
        """By step, increasing: why a checkpoint could not be measured."""
        steps = self._list_parts("missing", run)
        return {step: self._read_part("missing", "missing", run, step)["reason"][0].as_py() for step in steps}

    def conclude(self) -> None:
        """Gather the parts into `records/`."""
        remove(self.path / "records")  # of an earlier call that was ended before its last line
        super().conclude()

    def gather(self, folder: Path) -> None:
        """Fill `records/` from the parts."""
        for name, table in self._gather().items():
            write_table(table, folder / f"{name}.parquet")

    def records(self) -> ScanRecords:
        """All rows: of a finished scan, or of what an unfinished one has measured."""
        folder, spec = self.path / "records", self.spec()
        if not folder.exists():
            return ScanRecords(self.path, spec, **self._gather(), summary=None, rule=state_rule(spec))
        verify(folder, self.damaged)
        tables = {name: read_table(folder / f"{name}.parquet", SCAN_TABLES[name], self.damaged) for name in SCAN_TABLES}
        summary = self.summary() if self.finished else None
        return ScanRecords(self.path, spec, **tables, summary=summary, rule=state_rule(spec))

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; a single checkpoint is measured again."""
        if path.relative_to(self.path).parts[0] in ("checkpoints", "missing") and not self.finished:
            return "delete it and run the same command again: what it held is measured again where it is needed"
        if path.relative_to(self.path).parts[0] in ("checkpoints", "missing"):
            return "its rows are in records/ too, and nothing else is lost"
        return super().remedy(path)

    def _gather(self) -> dict[str, pa.Table]:
        if not (self.path / "prompts.parquet").exists():
            raise SaltusError(
                f"{self.path} has no measured checkpoint; scan for longer, or a suite that has usable ones"
            )
        runs = read_table(self.path / "runs.parquet", SCAN_TABLES["runs"], self.damaged)
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
            "prompts": read_table(self.path / "prompts.parquet", SCAN_TABLES["prompts"], self.damaged),
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
        part = read_table(path, SCAN_TABLES[table], self.damaged)
        for name, expected in (("size", run.size), ("seed", run.seed), ("step", step)):
            if part[name].unique().to_pylist() != [expected]:
                raise self.damaged(path, f"is not of {run} at step {step}")
        if prompts is not None and not part.select(_PROMPT_KEY).equals(prompts):
            raise self.damaged(path, "does not answer the prompts of the scan")
        return part

    def _write_table(self, path: Path, table: pa.Table) -> None:
        self._write(path, lambda partial: write_table(table, partial))
