"""Measure the checkpoints of a suite that a strategy asks for, and record what each of them says."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.lm.capabilities.batches import check_prompts
from saltus.lm.capabilities.build import build_capability
from saltus.lm.pattern_scores import tabulate_patterns
from saltus.lm.scanning.changes import find_changed
from saltus.lm.scanning.criteria import list_solved
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.scanning.probe import Probe, probe
from saltus.lm.scanning.prompts import RunPrompts, UnfitPromptsError
from saltus.lm.scanning.records import to_arrays
from saltus.lm.scanning.strategies import next_steps
from saltus.lm.suites.base import (
    MissingCheckpoint,
    Run,
    Suite,
    UnreachableCheckpoint,
    count_tokens,
    locate_checkpoint,
    select_runs,
    select_steps,
)
from saltus.lm.suites.content import Content, Stamp, describe_content, take_fault_stamp, take_stamp
from saltus.lm.suites.load import ModelLoader
from saltus.lm.suites.prefetch import Prefetcher
from saltus.specs.checkpoints import ScanSpec

ROWS = 256
"""Sequences in a pass; the probe takes fewer where memory ends."""

_REFUSALS = 2
"""Checkpoints in a row that cannot be asked the prompts, after which the rest of a run is not fetched for nothing."""


class Fetcher(Protocol):
    """A source of checkpoints."""

    def get(self, run: Run, step: int, following: tuple[Run, int] | None = None) -> Path:
        """As `Suite.fetch`; `following` will probably be asked for next, and may be brought meanwhile."""
        ...


class Listener(Protocol):
    """Hears of the progress of a scan. The time between two calls is that of the first one's work, or bookkeeping."""

    def started(self, runs: int) -> None:
        """So many runs are to be scanned."""
        ...

    def resumed(self, run: Run, measured: int) -> None:
        """So many checkpoints of the run were measured by an earlier call."""
        ...

    def fetching(self, run: Run, step: int) -> None:
        """A checkpoint is brought here."""
        ...

    def loading(self, run: Run, step: int) -> None:
        """It is read into memory."""
        ...

    def measuring(self, run: Run, step: int) -> None:
        """It is asked the prompts."""
        ...

    def asked(self, done: int, total: int) -> None:
        """So many of all sequences were."""
        ...

    def measured(self, run: Run, step: int, solved: NDArray[np.bool_]) -> None:
        """It answered: [unit] each prompt of each capability, then each capability as a set."""
        ...

    def missing(self, run: Run, step: int, reason: str) -> None:
        """It cannot be measured."""
        ...

    def finished_run(self, run: Run) -> None:
        """The strategy has no more questions about the run."""
        ...


def scan(
    spec: ScanSpec,
    suite: Suite,
    folder: ScanFolder,
    listener: Listener,
    device: torch.device,
    unusable: Mapping[Run, Mapping[int, str]] | None = None,
) -> None:
    """Scan from wherever it stands to its end; the folder must be held (`ScanFolder.writing`).

    `unusable` gives, by run and step, why a checkpoint is not to be trusted; it is recorded as missing and never asked
    for. A checkpoint that cannot be measured is recorded as missing, and the scan goes on; the next call asks for it
    again. A checkpoint whose files are others than those that were measured is measured again. What concerns all
    checkpoints, such as a network that is gone, is a `SaltusError` and ends the scan, to be resumed by another call.
    """
    capabilities = [build_capability(capability).name for capability in spec.capabilities]
    if len(set(capabilities)) < len(capabilities):
        raise SaltusError(f"the capabilities are named {', '.join(capabilities)}; names must differ, so rename a file")
    listed = folder.list_runs(
        lambda: {
            run: {step: count_tokens(suite, run, step) for step in steps}
            for run, steps in select_steps(suite, select_runs(suite, spec.sizes, spec.seeds), spec.steps).items()
        }
    )
    listener.started(len(listed))
    with Prefetcher(suite) as fetcher:
        work = _Work(spec, suite, folder, listener, fetcher, ModelLoader(spec.precision, device))
        runs = [_RunScan(work, run, steps, (unusable or {}).get(run, {})) for run, steps in listed.items()]
        for run in runs:
            run.follow()
            listener.finished_run(run.run)
        for run in runs:  # last, so that a scan that is resumed often comes to its end before it
            run.ask_again()


@dataclass(frozen=True)
class _Work:
    """What all runs of a scan are measured with."""

    spec: ScanSpec
    suite: Suite
    folder: ScanFolder
    listener: Listener
    fetcher: Fetcher
    loader: ModelLoader


class _RunScan:
    """One run of the suite, followed by the strategy."""

    def __init__(self, work: _Work, run: Run, steps: Sequence[int], unusable: Mapping[int, str]) -> None:
        self.run = run
        self._work, self._steps, self._unusable = work, steps, unusable
        self._prompts = RunPrompts(work.spec, work.folder, run)
        self._asked: set[int] = set()
        self._refused = 0

    def follow(self) -> None:
        """Measure until the strategy has no more questions."""
        spec, folder = self._work.spec, self._work.folder
        if not folder.has_prompts:
            self._recover_prompts()
        self._missing = self._exclude()
        self._solved = {
            step: list_solved(spec, table["capability"].to_pylist(), to_arrays(table))
            for step, table in folder.measured(self.run).items()
        }
        if self._solved:
            self._work.listener.resumed(self.run, len(self._solved))
        for step in find_changed(self._work.suite, folder, self.run):
            del self._solved[step]
            self._ask(step, None)
        self._ask_what_is_due()

    def ask_again(self) -> None:
        """Ask for what an earlier call found to be missing, and for what then becomes due."""
        for step in sorted(self._missing.keys() - self._unusable.keys() - self._asked):
            self._ask(step, None)
        self._ask_what_is_due()

    def _ask_what_is_due(self) -> None:
        while due := next_steps(self._work.spec, self._steps, self._missing, self._solved):
            if not self._solved and self._refused >= _REFUSALS:
                return
            self._ask(due[0], (self.run, due[1]) if len(due) > 1 else None)  # the others may change with its answer

    def _ask(self, step: int, following: tuple[Run, int] | None) -> None:
        """Measure a checkpoint and record what it says, or why it says nothing."""
        work = self._work
        self._asked.add(step)
        place = locate_checkpoint(work.suite, self.run, step)
        # Before it is read: what changes meanwhile is asked for again.
        stamp = None if place is None else take_fault_stamp(place, work.spec.tokenizer)
        try:
            answers, content, note, patterns = self._measure(step, following)
        except MissingCheckpoint as error:
            self._note_missing(step, error, stamp)
        except UnfitPromptsError as error:
            self._note_missing(step, error, stamp)
            self._refused += 1
            if self._refused >= _REFUSALS and not work.folder.has_answers:
                raise
        else:
            self._missing.pop(step, None)
            numbers = self._prompts.numbers
            self._solved[step] = list_solved(work.spec, numbers["capability"], vars(answers))
            work.listener.measured(self.run, step, self._solved[step])
            work.folder.commit(self.run, step, {**numbers, **vars(answers)}, content, note, patterns)

    def _measure(
        self, step: int, following: tuple[Run, int] | None
    ) -> tuple[Probe, Content, str, list[dict[str, Any]]]:
        """What the checkpoint says to all prompts, what its files are, what was mended, and what its heads do.

        The model is gone then.
        """
        work = self._work
        work.listener.fetching(self.run, step)
        path = work.fetcher.get(self.run, step, following)
        work.listener.loading(self.run, step)
        prompts = self._prompts.prepare(path)
        with ThreadPoolExecutor(max_workers=1) as beside:  # the hash takes as long as the reading
            described = beside.submit(describe_content, path)
            loaded = work.loader.load(path)
            try:
                check_prompts(loaded.model, prompts)
            except SaltusError as error:
                raise UnfitPromptsError(str(error)) from None
            work.listener.measuring(self.run, step)
            answers = probe(loaded.model, prompts, ROWS, work.listener.asked)
            patterns = tabulate_patterns(loaded.model, self._prompts.masks) if self._prompts.masks else []
            content = described.result()
        if take_stamp(path) != content.stamp:
            raise MissingCheckpoint(f"the files in {path} were changed while they were read; they are asked for again")
        return answers, content, loaded.note, patterns

    def _note_missing(self, step: int, error: SaltusError, stamp: Stamp | None) -> None:
        work, reason = self._work, str(error)
        self._missing[step] = reason
        work.listener.missing(self.run, step, reason)
        kind = "unreachable" if isinstance(error, UnreachableCheckpoint) else "fault"
        work.folder.commit_missing(self.run, step, reason, kind, stamp)

    def _exclude(self) -> dict[int, str]:
        """The recorded missing steps with their reasons, after what is not to be trusted was recorded as well.

        What an earlier call was told not to trust, and is trusted now, is used again where it was measured.
        """
        folder = self._work.folder
        recorded = folder.missing(self.run)
        missing = {step: one.reason for step, one in recorded.items()}
        for step, reason in self._unusable.items():
            if missing.get(step) != reason:
                folder.commit_missing(self.run, step, reason, "excluded")
                missing[step] = reason
        trusted = [step for step, one in recorded.items() if one.kind == "excluded" and step not in self._unusable]
        for step in trusted:
            if step in folder.answered_steps(self.run):
                folder.forget_missing(self.run, step)
                del missing[step]
        return missing

    def _recover_prompts(self) -> None:
        """Make the prompts again where their file is gone, with the tokenizer of a checkpoint that was measured."""
        for step in self._work.folder.measured_steps(self.run):
            with suppress(MissingCheckpoint):
                self._prompts.prepare(self._work.fetcher.get(self.run, step))
                return
