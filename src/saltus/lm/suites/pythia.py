"""Pythia (arXiv 2304.01373) and PolyPythias (arXiv 2503.09543): sizes, seeds, and 154 checkpoints of each run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saltus.lm.suites.base import MissingCheckpoint, Run
from saltus.lm.suites.hub import Hub

SIZES = ("14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
SEEDED_SIZES = SIZES[:5]
_TOKENS_OF_A_STEP = 1024 * 2048
STEPS = (0, *(2**power for power in range(10)), *range(1000, 144_000, 1000))


@dataclass(frozen=True)
class KnownFault:
    """What others have found wrong with a run (EleutherAI/pythia, issues on GitHub)."""

    size: str
    seed: str
    text: str
    steps: tuple[int, ...] = ()
    """Empty where it concerns the whole run."""
    wrong: bool = True
    """Whether these steps have the weights of others; if not, nothing is known to be wrong with what is there."""


_LATE = (*STEPS[:11], *range(1000, 65_000, 1000), 65_000, 70_000, 80_000, 90_000, 100_000, 103_000, 110_000)

KNOWN_FAULTS = (
    KnownFault("14m", "0", "before 27 February 2026 this repository held the model trained on deduplicated data"),
    KnownFault(
        *("2.8b", "0", "the weights are those of the end of training (issue 205)"), (*_LATE, 120_000, 130_000, 140_000)
    ),
    KnownFault("12b", "0", "the first shard is that of step 143000 (issue 206)", (50_000, 58_000)),
    KnownFault("410m", "2", "the revision is missing (issue 202)", (111_000,), wrong=False),
    KnownFault("410m", "3", "an outlier; valid to about step 64000"),
    KnownFault("410m", "4", "an outlier; valid to about step 96000"),
    KnownFault("410m", "6", "the revision is missing (issue 202)", (88_000,), wrong=False),
    KnownFault("410m", "9", "the revision is missing (issue 202)", (40_000,), wrong=False),
    *(KnownFault("160m", f"weight-{n}", "the run does not continue from here (issue 203)", (0,)) for n in (1, 2, 3)),
)


def list_known_faults(suite: str, run: Run) -> dict[int, str]:
    """The steps of a run at which the weights are known to be others than the run's, and why; none in other suites."""
    faults = [fault for fault in (KNOWN_FAULTS if suite in ("pythia", "polypythias") else ()) if fault.wrong]
    return {
        step: f"known: {fault.text}" for fault in faults if run == Run(fault.size, fault.seed) for step in fault.steps
    }


class PythiaSuite:
    """The runs of one of the two families, fetched from the hub."""

    def __init__(self, name: Literal["pythia", "polypythias"], hub: Hub) -> None:
        self._name = name
        self._hub = hub
        if name == "pythia":
            self._runs = tuple(Run(size, "0") for size in SIZES)
        else:
            self._runs = tuple(Run(size, seed) for size in SEEDED_SIZES for seed in _list_seeds(size))

    @property
    def name(self) -> str:
        """'pythia' or 'polypythias'."""
        return self._name

    def runs(self) -> Sequence[Run]:
        """All runs, small sizes first, then by seed."""
        return self._runs

    def steps(self, run: Run) -> Sequence[int]:
        """The 154 steps that every run should have."""
        return STEPS

    def tokens(self, run: Run, step: int) -> int | None:
        """1,024 sequences of 2,048 tokens at each step (arXiv 2304.01373)."""
        return step * _TOKENS_OF_A_STEP

    def locate(self, run: Run, step: int) -> Path | None:
        """See `LocalSuite`."""
        return self._hub.locate(find_repository(run), f"step{step}")

    def fetch(self, run: Run, step: int) -> Path:
        """The revision `stepN` of the run's repository."""
        if run not in self._runs or step not in STEPS:
            raise MissingCheckpoint(f"the suite {self._name} has no step {step} of {run}")
        return self._hub.fetch(find_repository(run), f"step{step}")


def find_repository(run: Run) -> str:
    """The name of a run's repository on the hub."""
    kind, _, number = run.seed.rpartition("-")
    suffix = "" if run.seed == "0" else f"-{kind}-seed{number}" if kind else f"-seed{number}"
    return f"EleutherAI/pythia-{run.size}{suffix}"


def _list_seeds(size: str) -> list[str]:
    varied = [f"{kind}-{number}" for kind in ("data", "weight") for number in (1, 2, 3)] if size == "160m" else []
    return [*map(str, range(10)), *varied]
