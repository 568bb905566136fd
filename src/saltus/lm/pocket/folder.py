"""A pocket suite on disk: what is written appears whole or not at all, and a kill loses only unsaved work.

ROOT/
  suite.json               what is trained
  _corpus/                 the tokenizer, and the tokens of a text; the underscore keeps it from being a size
  SIZE/seedN/stepM/        a checkpoint that transformers loads: config, weights, tokenizer
  SIZE/seedN/moments/M/    the optimiser's moments at the newest two steps, until the run ends
  finished.json            versions and duration; its presence says that every run is done
"""

import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltus.errors import SaltusError
from saltus.lm.specs import PocketSpec
from saltus.lm.suites.base import Run
from saltus.specs import ScheduleSpec
from saltus.storage.files import explain_full_disk, hash_file, hold, remove, write_file, write_folder
from saltus.train.schedule import list_steps

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def read_pocket_spec(root: Path) -> PocketSpec | None:
    """What the pocket suite in `root` was described as, finished or not; None if there is none."""
    path = root / "suite.json"
    try:
        values = json.loads(path.read_text())
        return PocketSpec(**values)
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError, SaltusError) as error:
        raise SaltusError(
            f"{path} describes no pocket suite ({error}); bring back what it was, or delete {root} to start anew"
        ) from None


def list_pocket_steps(spec: PocketSpec) -> tuple[int, ...]:
    """The steps of every run's checkpoints: Pythia's schedule, and the last step."""
    return list_steps(ScheduleSpec(every=spec.every), spec.steps)


@dataclass(frozen=True)
class RunFolder:
    """One run of a suite on disk."""

    path: Path
    corpus: Path
    """The folder with the tokenizer."""
    schedule: tuple[int, ...]
    """The steps of its checkpoints."""

    def latest(self) -> int | None:
        """The step of the newest checkpoint, all of them verified; None where there is none."""
        there = [step for step in self.schedule if self.checkpoint(step).exists()]
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
        remedy = f"delete {folder} if it is the run's newest, else {self.path}, and run the same command again"
        if not folder.exists():
            raise SaltusError(f"{folder} is gone; bring it back, or delete {self.path} and run the same command again")
        verify_folder(folder, remedy)


class PocketFolder:
    """A pocket suite on disk."""

    def __init__(self, root: Path, spec: PocketSpec) -> None:
        self.root, self.spec = root, spec

    @property
    def corpus(self) -> Path:
        """The folder with the tokenizer and the tokens."""
        return self.root / "_corpus"

    @property
    def finished(self) -> bool:
        """Whether every run is done; such a suite is never written to again. An error if another suite is here."""
        self._require()
        return (self.root / "finished.json").exists()

    @contextmanager
    def writing(self, write_corpus: Callable[[Path], object]) -> Generator[None, None, None]:
        """Hold the suite's folder against other writers, after creating what is not there.

        `write_corpus` fills a folder with the tokenizer and the tokens.
        """
        self._require()
        with hold(self.root):
            self._require()
            self._remove_partial()
            with explain_full_disk(self.root):
                content = json.dumps(self.spec.model_dump(mode="json"), indent=2) + "\n"
                write_file(self.root / "suite.json", lambda path: path.write_text(content))
                if not self.corpus.exists():
                    write_folder(self.corpus, write_corpus)
            verify_folder(self.corpus, f"delete {self.corpus} and run the same command again: it is made anew")
            try:
                yield
            finally:
                self._remove_partial()

    def run(self, run: Run) -> RunFolder:
        """The folder of one run."""
        return RunFolder(self.root / run.size / f"seed{run.seed}", self.corpus, list_pocket_steps(self.spec))

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the suite as done."""
        with explain_full_disk(self.root):
            for path in self.root.glob("*/seed*/moments"):
                remove(path)
            content = json.dumps(summary, indent=2) + "\n"
            write_file(self.root / "finished.json", lambda path: path.write_text(content))

    def _require(self) -> None:
        there = read_pocket_spec(self.root)
        if there is not None and there != self.spec:
            raise SaltusError(
                f"{self.root / 'suite.json'} describes another suite than {self.spec.name!r} as it was asked for; "
                "give another folder, or move this one away"
            )

    def _remove_partial(self) -> None:
        """What an interrupted writer has left."""
        for pattern in ("*.partial", "*/seed*/*.partial", "*/seed*/moments/*.partial"):
            for path in self.root.glob(pattern):
                remove(path)


def verify_folder(folder: Path, remedy: str) -> None:
    """Compare the files of a folder with the hashes in its manifest; a difference is named, with the remedy."""
    try:
        hashes: dict[str, str] = json.loads((folder / "manifest.json").read_text())
        wrong = [folder / name for name, expected in hashes.items() if hash_file(folder / name) != expected]
    except FileNotFoundError as error:
        raise SaltusError(f"{error.filename} is missing; {remedy}") from None
    except (OSError, ValueError, AttributeError) as error:
        raise SaltusError(f"{folder} cannot be read ({error}); {remedy}") from None
    if wrong:
        raise SaltusError(f"{wrong[0]} differs from what was written; {remedy}")
