"""A pocket suite on disk: a kill loses only unsaved work.

ROOT/
  suite.json               what is trained
  _corpus/                 the tokenizer, and the tokens of a text; the underscore keeps it from being a size
  SIZE/seedN/stepM/        a checkpoint that transformers loads: config, weights, tokenizer
  SIZE/seedN/moments/M/    the optimiser's moments at the newest two steps, until the run ends
  finished.json            versions and duration; its presence says that every run is done
"""

import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from saltus.errors import SaltusError
from saltus.lm.suites.base import Run
from saltus.specs import ScheduleSpec
from saltus.specs.pocket import PocketSpec
from saltus.storage.files import explain_full_disk, remove, sweep, write_folder
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import verify

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def list_pocket_steps(spec: PocketSpec) -> tuple[int, ...]:
    """The steps of every run's checkpoints: Pythia's schedule, and the last step."""
    return ScheduleSpec(every=spec.every).list_steps(spec.steps)


@dataclass(frozen=True)
class PocketRunFolder:
    """One run of a suite on disk."""

    path: Path
    corpus: Path
    """The folder with the tokenizer."""
    schedule: tuple[int, ...]
    """The steps of its checkpoints."""

    def list_steps(self) -> list[int]:
        """The steps of the checkpoints that are there, increasing; their files are not looked at."""
        return [step for step in self.schedule if self.checkpoint(step).exists()]

    def latest(self) -> int | None:
        """The step of the newest checkpoint, all of them verified; None where there is none."""
        there = self.list_steps()
        if not there:
            remove(self.path / "moments")
            return None
        for step in self.schedule[: self.schedule.index(there[-1]) + 1]:
            self._verify(self.checkpoint(step))
        for path in self._moments():
            if int(path.name) > there[-1]:  # the kill came between the two
                remove(path)
        return there[-1]

    def checkpoint(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self.path / f"step{step}"

    def read(self, step: int) -> Path:
        """The folder of a checkpoint, verified."""
        folder = self.checkpoint(step)
        self._verify(folder)
        return folder

    def moments(self, step: int) -> Path:
        """The file of the optimiser's moments at the newest checkpoint, verified."""
        folder = self.path / "moments" / str(step)
        self._verify(folder)
        return folder / "moments.safetensors"

    def commit(self, step: int, write_model: Callable[[Path], object], write_moments: Callable[[Path], object]) -> None:
        """Save a checkpoint; afterwards a resumed run starts here.

        `write_model` fills a folder, `write_moments` a file. Moments come first: a checkpoint without them is no start.
        """

        def fill(folder: Path) -> None:
            write_model(folder)
            for name in _TOKENIZER:
                shutil.copyfile(self.corpus / name, folder / name)

        with explain_full_disk(self.path):
            moments = self.path / "moments"
            write_folder(moments / str(step), lambda folder: write_moments(folder / "moments.safetensors"))
            write_folder(self.checkpoint(step), fill)
            # The one before keeps its moments: should this checkpoint be damaged, the run can go on from there.
            for path in self._moments()[:-2]:
                remove(path)
            if step == self.schedule[-1]:
                remove(moments)

    def _moments(self) -> list[Path]:
        """Those of each step, by step."""
        found = (path for path in (self.path / "moments").glob("*") if path.name.isdigit())
        return sorted(found, key=lambda path: int(path.name))

    def _verify(self, folder: Path) -> None:
        """Compare a folder with its manifest; a difference is named, with what to do."""

        def damaged(path: Path, what: str) -> SaltusError:
            return SaltusError(f"{path} {what}; {self._remedy(folder)}")

        if not folder.exists():
            raise damaged(folder, "is gone")
        verify(folder, damaged)

    def _remedy(self, folder: Path) -> str:
        """How to get out of damage to a checkpoint or its moments; training again gives the same bits."""
        newest = max((step for step in self.schedule if self.checkpoint(step).exists()), default=-1)
        before = [
            step for path in self._moments() if (step := int(path.name)) < newest and self.checkpoint(step).exists()
        ]
        if before and folder in (self.checkpoint(newest), self.path / "moments" / str(newest)):
            return f"move {self.checkpoint(newest)} away {AGAIN}: the run resumes from step {max(before)}"
        return f"move {self.path} away {AGAIN}: this run starts anew, and the others are kept"


@dataclass(frozen=True)
class PocketRecords:
    """How far a suite is."""

    path: Path
    spec: PocketSpec
    steps: Mapping[Run, int | None]
    """By run, in the order of the sizes and then of the seeds, the step of the newest checkpoint; None before any."""

    @property
    def trained(self) -> int:
        """Runs that have their last checkpoint."""
        return sum(step == self.spec.steps for step in self.steps.values())

    @property
    def done(self) -> float:
        """Share of the steps of all runs that checkpoints have, from 0 to 1."""
        return sum(step or 0 for step in self.steps.values()) / (len(self.steps) * self.spec.steps)


class PocketFolder(Folder[PocketSpec]):
    """A pocket suite on disk."""

    kind: ClassVar[str] = "pocket suite"
    description: ClassVar[str] = "suite.json"
    specs: ClassVar[type[PocketSpec]] = PocketSpec

    @property
    def corpus(self) -> Path:
        """The folder with the tokenizer and the tokens."""
        return self.path / "_corpus"

    @contextmanager
    def training(self, spec: PocketSpec, write_corpus: Callable[[Path], object]) -> Generator[None, None, None]:
        """Hold the suite's folder against other writers, after creating what is not there.

        `write_corpus` fills a folder with the tokenizer and the tokens.
        """
        with self.writing(spec):
            if not self.corpus.exists():
                with explain_full_disk(self.path):
                    write_folder(self.corpus, write_corpus)
            verify(self.corpus, self.damaged)
            try:
                yield
            finally:  # a process that is ended leaves what it was writing
                sweep(self.path)

    def run(self, run: Run) -> PocketRunFolder:
        """The folder of one run."""
        return PocketRunFolder(self.path / run.size / f"seed{run.seed}", self.corpus, list_pocket_steps(self.spec()))

    def records(self) -> PocketRecords:
        """How far it is, finished or not."""
        spec = self.spec()
        runs = [Run(model.name, str(seed)) for model in spec.models for seed in range(spec.seeds)]
        return PocketRecords(self.path, spec, {run: max(self.run(run).list_steps(), default=None) for run in runs})

    def conclude(self) -> None:
        """Remove what only a resumption needs; the checkpoints are the records of a suite."""
        for path in self.path.glob("*/seed*/moments"):
            remove(path)

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; the corpus is made anew."""
        if path.relative_to(self.path).parts[0] == "_corpus":
            return f"delete {self.corpus} {AGAIN}: it is made anew, and everything else is kept"
        return super().remedy(path)
