"""The folder of a monitored training: what was flushed is never lost, whatever ends the training.

FOLDER/
  monitor.json            what is measured (`MonitorSpec`)
  probe.safetensors       the probe batch: tokens [sequence, position], chance [pattern], and of its first sequence the
                          masks of the known patterns [pattern, query, key]; names and texts in its metadata
  rows.jsonl              a line for each probe, as `Row`; and {"rewound_to": STEP}, which takes back all rows before it
                          that are of this step or a later one
  events.jsonl            a line for each event, as `Event`
  patterns/STEP.safetensors  attention on the first sequence, `pattern` [layer, head, query, key]: bytes, 255 times the
                          square root of a weight; older ones are thinned out
  finished.json           versions, machine, duration; its presence says that the monitor was closed

Lines are only ever added, and are on disk before the training goes on; a line that a kill cut off is left out.
"""

import json
import os
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from saltus.monitor.records import (
    Event,
    MonitorRecords,
    ProbeBatch,
    Row,
    format_event,
    format_row,
    keep_events,
    keep_rows,
    state_rule,
    state_sharp,
)
from saltus.specs.monitor import MonitorSpec
from saltus.storage.files import explain_full_disk, remove
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import explain_refusal, read_arrays, write_arrays

MOST_FRAMES = 128
"""Patterns that are kept; then every other one is removed, but for the newest."""
LONGEST = 64
"""Positions of a pattern that are kept."""


class MonitorFolder(Folder[MonitorSpec]):
    """One monitored training on disk. It may be written again when it is finished: the training goes on."""

    kind: ClassVar[str] = "monitored training"
    description: ClassVar[str] = "monitor.json"
    specs: ClassVar[type[MonitorSpec]] = MonitorSpec
    named_by_hash: ClassVar[bool] = False

    def reopen(self) -> None:
        """Take back that the monitor was closed."""
        with explain_full_disk(self.path):
            remove(self.path / "finished.json")

    def append_row(self, row: Row) -> None:
        """Add what a probe measured; on disk when this returns."""
        self._append("rows.jsonl", [format_row(row)])

    def append_events(self, events: Sequence[Event]) -> None:
        """Add events; on disk when this returns."""
        self._append("events.jsonl", [format_event(event) for event in events])

    def rewind(self, step: int) -> None:
        """Take back all rows and patterns of `step` and later ones."""
        self._append("rows.jsonl", [{"rewound_to": step}])
        for frame in self.frames():
            if frame >= step:
                remove(self._frame(frame))

    def keep_probe(self, probe: ProbeBatch) -> None:
        """Write the probe batch, unless it is there."""
        path = self.path / "probe.safetensors"
        if not path.exists():
            arrays: dict[str, NDArray[Any]] = {
                "tokens": probe.tokens,
                "chance": probe.chance,
                "masks": probe.masks.astype(np.uint8),
            }
            notes = {"names": json.dumps(probe.names), "texts": json.dumps(probe.texts)}
            self._write(path, lambda partial: write_arrays(arrays, partial, notes))

    def probe(self) -> ProbeBatch | None:
        """The probe batch; None if there is none."""
        path = self.path / "probe.safetensors"
        if not path.exists():
            return None
        arrays, notes = read_arrays(path, self.damaged)
        try:
            names, texts = (tuple(json.loads(notes[key])) for key in ("names", "texts"))
            return ProbeBatch(names, arrays["chance"], arrays["tokens"], arrays["masks"].astype(bool), texts)
        except (KeyError, ValueError, RecursionError):
            raise self.damaged(path, "holds no probe batch") from None

    def keep_pattern(self, step: int, pattern: NDArray[np.float32]) -> None:
        """Write the attention [layer, head, query, key] of a probe on the first sequence, and thin out older ones."""
        small = np.sqrt(np.clip(np.nan_to_num(pattern[..., :LONGEST, :LONGEST]), 0.0, 1.0)) * 255.0
        arrays: dict[str, NDArray[Any]] = {"pattern": small.round().astype(np.uint8)}
        self._write(self._frame(step), lambda partial: write_arrays(arrays, partial))
        frames = self.frames()
        if len(frames) > MOST_FRAMES:
            for frame in frames[-2::-2]:
                remove(self._frame(frame))

    def frames(self) -> list[int]:
        """The steps, increasing, whose patterns are kept."""
        names = (path.stem for path in (self.path / "patterns").glob("*.safetensors"))
        return sorted(int(name) for name in names if name.isdigit())

    def pattern(self, step: int) -> NDArray[np.float32]:
        """The attention of a kept step on the first sequence, [layer, head, query, key]."""
        path = self._frame(step)
        arrays, _ = read_arrays(path, self.damaged)
        if "pattern" not in arrays:
            raise self.damaged(path, "holds no pattern")
        return (arrays["pattern"].astype(np.float32) / 255.0) ** 2

    def rows(self) -> list[Row]:
        """Those that stand, by step, increasing."""
        patterns = len(self.spec().patterns)

        def check(lines: Sequence[Mapping[str, Any]]) -> None:
            (row,) = keep_rows(lines) or [None]
            if row is not None and row.masses is not None and row.masses.shape[2] != patterns:
                raise ValueError(f"there are {patterns} patterns")

        return keep_rows(self._read_lines("rows.jsonl", check))

    def events(self) -> list[Event]:
        """Those that stand, in the order in which they were confirmed."""
        return keep_events(self._read_lines("events.jsonl", keep_events))

    def records(self) -> MonitorRecords:
        """All that stands, finished or not."""
        spec = self.spec()
        return MonitorRecords(
            self.path,
            spec,
            tuple(self.rows()),
            tuple(self.events()),
            self.probe(),
            self.summary() if self.finished else None,
            state_rule(spec),
            state_sharp(spec),
        )

    def conclude(self) -> None:
        """Lines are what the records of a monitor are; there is nothing to gather."""

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; a line or a pattern is no more than one probe."""
        match path.relative_to(self.path).parts[0]:
            case "rows.jsonl" | "events.jsonl":
                return "delete that line: the others are kept"
            case "patterns":
                return "delete it: a pattern is drawn, and nothing else is made of it"
            case "probe.safetensors":
                return f"delete it {AGAIN}: it is written anew, and everything else is kept"
            case _:
                return super().remedy(path)

    def _frame(self, step: int) -> Path:
        return self.path / "patterns" / f"{step:08d}.safetensors"

    def _append(self, name: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """All of the lines, or none if the disk has no room for them."""
        rest = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode()
        # Without a buffer: closing the file would write what is left in it after all.
        with explain_full_disk(self.path), (self.path / name).open("a+b", buffering=0) as file:
            size = _cut_tail(file)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    def _read_lines(self, name: str, check: Any) -> list[dict[str, Any]]:
        """Whole lines; the last one may have been cut off, or is being written now."""
        path = self.path / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explain_refusal(path, error) from None
        lines: list[dict[str, Any]] = []
        for number, text in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                line = json.loads(text)
                check([line])
            except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
                raise self.damaged(path, f"has no record in line {number}") from None
            lines.append(line)
        return lines


def _cut_tail(file: FileIO) -> int:
    """Cut off a last line that a kill left unfinished; the bytes that are left."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    if file.read(1) not in (b"", b"\n"):
        file.seek(0)
        size = file.readall().rfind(b"\n") + 1
        file.truncate(size)
    return size
