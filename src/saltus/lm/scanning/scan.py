"""Measure the checkpoints of a suite that a strategy asks for, and record what each of them says."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import build_capability, make_prompts
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.scanning.probe import Probe, probe
from saltus.lm.scanning.records import SCAN_TABLES
from saltus.lm.scanning.strategies import next_steps
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite, select_runs
from saltus.lm.suites.load import load_model, load_tokenizer
from saltus.lm.suites.prefetch import Prefetcher
from saltus.specs.checkpoints import ScanSpec

ROWS = 256
"""Sequences in a pass; the probe takes fewer where memory ends."""


class Fetcher(Protocol):
    """Somebody who brings checkpoints."""

    def get(self, run: Run, step: int, following: tuple[Run, int] | None = None) -> Path:
        """As `Suite.fetch`; `following` will probably be asked for next, and may be brought meanwhile."""
        ...


class Listener(Protocol):
    """Somebody who watches. What happens between two calls is what the first of them says, or else bookkeeping."""

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
    for. A checkpoint that is missing or damaged is recorded, and the scan goes on; any other `SaltusError` ends it, to
    be resumed by another call.
    """
    capabilities = [build_capability(capability).name for capability in spec.capabilities]
    if len(set(capabilities)) < len(capabilities):
        raise SaltusError(f"the capabilities are named {', '.join(capabilities)}; names must differ, so rename a file")
    runs = folder.list_runs(lambda: {run: suite.steps(run) for run in select_runs(suite, spec.sizes, spec.seeds)})
    listener.started(len(runs))
    with Prefetcher(suite) as fetcher:
        for run, steps in runs.items():
            _RunScan(spec, folder, listener, device, fetcher, run).follow(steps, (unusable or {}).get(run, {}))


def list_solved(capability: Sequence[str], correct: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """What one checkpoint solved, [unit]: each prompt of each capability, then each capability as a set.

    `capability` and `correct` are [prompt]. A set is solved where the share of its prompts that are right is at least
    `threshold`.
    """
    names = np.array(capability)
    sets = [correct[names == name].mean() >= threshold for name in dict.fromkeys(capability)]
    return np.concatenate([correct, np.array(sets, dtype=np.bool_)])


class _RunScan:
    """One run of the suite, followed by the strategy."""

    def __init__(
        self, spec: ScanSpec, folder: ScanFolder, listener: Listener, device: torch.device, fetcher: Fetcher, run: Run
    ) -> None:
        self._spec, self._folder, self._listener, self._device = spec, folder, listener, device
        self._fetcher, self._run = fetcher, run
        self._prompts: dict[str, Sequence[Prompt]] = {}

    def follow(self, steps: Sequence[int], unusable: Mapping[int, str]) -> None:
        """Measure until the strategy has no more questions."""
        if not self._folder.has_prompts:
            self._recover_prompts()
        missing = self._folder.missing(self._run)
        self._exclude(unusable, missing)
        solved = {
            step: self._list_solved(table["capability"].to_pylist(), table["correct"].to_numpy())
            for step, table in self._folder.measured(self._run).items()
        }
        if solved:
            self._listener.resumed(self._run, len(solved))
        while due := next_steps(self._spec, steps, missing, solved):
            step = due[0]  # the others may change with its answer
            try:
                said = self._ask(step, following=(self._run, due[1]) if len(due) > 1 else None)
            except MissingCheckpoint as error:
                missing[step] = str(error)
                self._listener.missing(self._run, step, missing[step])
                self._folder.commit_missing(self._run, step, missing[step])
                continue
            numbers = _number(self._prompts)
            solved[step] = self._list_solved(numbers["capability"], said.correct)
            self._listener.measured(self._run, step, solved[step])
            self._folder.commit(self._run, step, {**numbers, **vars(said)})
        self._listener.finished_run(self._run)

    def _recover_prompts(self) -> None:
        """Make the prompts again where their file is gone, with the tokenizer of a checkpoint that was measured."""
        for step in self._folder.measured_steps(self._run):
            with suppress(MissingCheckpoint):
                self._prompts = self._agree(load_tokenizer(self._fetcher.get(self._run, step)))
                return

    def _list_solved(self, capability: Sequence[str], correct: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return list_solved(capability, correct, self._spec.threshold)

    def _exclude(self, unusable: Mapping[int, str], missing: dict[int, str]) -> None:
        """Record what is not to be trusted as missing, measured or not."""
        for step, reason in unusable.items():
            if step not in missing:
                missing[step] = reason
                self._folder.commit_missing(self._run, step, reason)

    def _ask(self, step: int, following: tuple[Run, int] | None) -> Probe:
        """What the checkpoint says to all prompts; the model is gone afterwards."""
        self._listener.fetching(self._run, step)
        path = self._fetcher.get(self._run, step, following)
        self._listener.loading(self._run, step)
        model = load_model(path, self._spec.precision, self._device)
        if not self._prompts:
            self._prompts = self._agree(load_tokenizer(path))
        self._listener.measuring(self._run, step)
        return probe(model, [prompt for several in self._prompts.values() for prompt in several], ROWS)

    def _agree(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Sequence[Prompt]]:
        """The prompts for this tokenizer, by capability: the same for all runs of a scan, or they are refused."""
        prompts = {
            build_capability(capability).name: make_prompts(capability, tokenizer, self._spec.master_seed)
            for capability in self._spec.capabilities
        }
        every = [prompt for several in prompts.values() for prompt in several]
        texts = {"text": [prompt.text for prompt in every], "target": [prompt.target_text for prompt in every]}
        tokens = json.dumps([[prompt.tokens, prompt.target, prompt.foil] for prompt in every])
        self._folder.agree_on(
            pa.table({**_number(prompts), **texts}, schema=SCAN_TABLES["prompts"]),
            hashlib.sha256(tokens.encode()).hexdigest(),
            self._run,
        )
        return prompts


def _number(prompts: Mapping[str, Sequence[Prompt]]) -> dict[str, list[Any]]:
    """The columns that name the prompts, [prompt]: its capability, and its number there."""
    return {
        "capability": [name for name, several in prompts.items() for _ in several],
        "prompt": [number for several in prompts.values() for number in range(len(several))],
    }
