"""What a suite is: checkpoints by size, seed and step, wherever they lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from saltus.errors import SaltusError
from saltus.specs.checkpoints import read_range

TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer.model", "vocab.json", "vocab.txt", "merges.txt"),
)
"""What a tokenizer is read from."""


@dataclass(frozen=True)
class Run:
    """One training run of a suite."""

    size: str
    """Such as '160m'."""
    seed: str
    """Such as '0', or 'data-1' where only the order of the data differs."""

    def __str__(self) -> str:
        return f"{self.size} seed {self.seed}"


class MissingCheckpoint(SaltusError):  # noqa: N818 - it is a fact about a suite, listed in results
    """A checkpoint that is not there, or cannot be used; the message says why. It never ends a scan."""


class UnreachableCheckpoint(MissingCheckpoint):
    """A checkpoint that cannot be looked for now, such as one that is not cached while offline: no fault of a suite."""


class Suite(Protocol):
    """A family of runs with checkpoints."""

    @property
    def name(self) -> str:
        """As the user gave it, such as 'pythia', 'folder:PATH' or a name of the suite's own."""
        ...

    def runs(self) -> Sequence[Run]:
        """All runs, small sizes first, then by seed."""
        ...

    def steps(self, run: Run) -> Sequence[int]:
        """Steps at which the run should have checkpoints, increasing. Some may turn out to be missing."""
        ...

    def fetch(self, run: Run, step: int) -> Path:
        """A local folder with `config.json`, safetensors weights and the tokenizer.

        Raises `MissingCheckpoint` where this checkpoint is not there or is damaged for good, `UnreachableCheckpoint`
        where it is not here and nothing is to be fetched, `SaltusError` where nothing can be fetched now (no network):
        a scan then stops and can be resumed.
        """
        ...


@runtime_checkable
class LocalSuite(Suite, Protocol):
    """A suite that can say where its checkpoints lie without fetching any."""

    def locate(self, run: Run, step: int) -> Path | None:
        """The folder of a checkpoint that is here, unchecked; None where it is not."""
        ...


@runtime_checkable
class CountingSuite(Suite, Protocol):
    """A suite that knows how many tokens its runs had seen."""

    def tokens(self, run: Run, step: int) -> int | None:
        """Tokens that the run had seen at a step; None where that is not known."""
        ...


def count_tokens(suite: Suite, run: Run, step: int) -> int | None:
    """Tokens that a run had seen at a step; None where that is not known, or where the suite cannot say."""
    return suite.tokens(run, step) if isinstance(suite, CountingSuite) else None


def locate_checkpoint(suite: Suite, run: Run, step: int) -> Path | None:
    """The folder of a checkpoint whose weights are here; None where they are not, or where the suite cannot say."""
    folder = suite.locate(run, step) if isinstance(suite, LocalSuite) else None
    return folder if folder is not None and any(folder.glob("*.safetensors")) else None


def select_runs(suite: Suite, sizes: Sequence[str], seeds: Sequence[str]) -> list[Run]:
    """The runs of `suite` with one of the sizes and one of the seeds; an empty sequence takes all."""
    runs = suite.runs()
    for kind, wanted, there in (
        ("size", sizes, dict.fromkeys(run.size for run in runs)),
        ("seed", seeds, dict.fromkeys(run.seed for run in runs)),
    ):
        for value in wanted:
            if value not in there:
                raise SaltusError(f"{kind}: {value!r} is not in the suite {suite.name}; there are {', '.join(there)}")
    chosen = [run for run in runs if (not sizes or run.size in sizes) and (not seeds or run.seed in seeds)]
    if not chosen:
        raise SaltusError(f"the suite {suite.name} has no run of size {', '.join(sizes)} and seed {', '.join(seeds)}")
    return chosen


def select_steps(suite: Suite, runs: Sequence[Run], wanted: Sequence[str]) -> dict[Run, list[int]]:
    """The steps of runs, increasing, that are in one of the ranges `wanted`; an empty sequence takes all.

    Raises:
        SaltusError: if no run has a step in one of the ranges.

    """
    steps = {run: list(suite.steps(run)) for run in runs}
    if not wanted:
        return steps
    ranges = {text: read_range(text) for text in wanted}
    every = {step for several in steps.values() for step in several}
    for text, (first, last) in ranges.items():
        if not any(first <= step <= last for step in every):
            there = f"its steps are from {min(every)} to {max(every)}" if every else "there are none"
            raise SaltusError(f"step: the suite {suite.name} has no checkpoint at {text}; {there}")
    return {
        run: [step for step in several if any(first <= step <= last for first, last in ranges.values())]
        for run, several in steps.items()
    }
