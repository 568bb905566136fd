"""A tiny run, and the command line as a person meets it, for the tests that need them."""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from saltus.cli.main import main as saltus_main
from saltus.specs import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]

settings.register_profile("untimed", deadline=None)  # no test is timed: a busy machine is no error
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny() -> RunSpec:
    """A run of a second or two."""
    return RunSpec(
        name="tiny",
        task=LinearMapSpec(size=4, sparsity=2),
        model=TransformerSpec(d_model=8, heads=2, d_mlp=16),
        training=TrainingSpec(
            steps=40,
            batch_sequences=8,
            compile=False,
            evaluation_sequences=16,
            evaluate=ScheduleSpec(every=10),
            snapshot=ScheduleSpec(every=20),
            checkpoint=ScheduleSpec(every=10),
        ),
        seeds=2,
    )


class Silence:
    """Listens to the training loop and says nothing."""

    def resumed(self, step: int) -> None: ...

    def advanced(self, step: int) -> None: ...

    def evaluated(self, run: int, step: int, progress: Mapping[int, NDArray[np.float64]]) -> None: ...


@pytest.fixture(scope="session")
def finished(tiny: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The tiny run, trained to its end in this process. Not to be written to: copy it."""
    import torch

    from saltus.tasks.build import read_facts
    from saltus.train.ensemble import Ensemble, list_members
    from saltus.train.loop import Job, train

    torch.set_num_threads(1)  # as in the processes that train
    folder = RunFolder(tmp_path_factory.mktemp("runs") / tiny.run_id)
    job = Job(tiny, folder, read_facts(tiny), tuple(range(tiny.seeds)))
    with folder.training(tiny, job.facts):
        ensemble = Ensemble([tiny], list_members([tiny]), torch.device("cpu"), stacked=False)
        train([job], ensemble, Silence(), lambda _: folder.finish({"last_step": tiny.training.steps}))
    return folder


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs train here and not in processes of their own, which take seconds to start."""
    import torch

    from saltus.engines import local
    from saltus.train.ensemble import Ensemble, Member

    torch.set_num_threads(1)

    class Here:
        def choose(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> int:
            return len(waiting)

        def suffices(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> bool:
            return False

        def open(self, specs: Sequence[RunSpec], members: Sequence[Member], beside: Path) -> Ensemble:
            return Ensemble(specs, members, torch.device("cpu"), stacked=False, beside=beside)

    @contextmanager
    def open_machine(device: torch.device, processes: int | None, *, own: bool = False) -> Generator[Here, None, None]:
        yield Here()

    monkeypatch.setattr(local, "open_machine", open_machine)


@pytest.fixture
def saltus(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Saltus:
    """The command line, in this process: its exit code, what it wrote, and what it wrote of errors."""
    for name in ("FORCE_COLOR", "COLUMNS", "GITHUB_ACTIONS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["saltus", *map(str, arguments)])
        capsys.readouterr()
        try:
            saltus_main()
        except SystemExit as stop:
            code = stop.code
        else:
            code = 0
        assert isinstance(code, int)
        out, error = capsys.readouterr()
        return code, out, error

    return call
