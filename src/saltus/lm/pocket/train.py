"""Train a pocket suite: one process a core with one thread each, and a run at a time in each process; or in this one.

The processes are spawned and speak over pipes; when this process dies, they end by themselves.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Protocol

import torch
from transformers.utils.logging import disable_progress_bar

from saltus.errors import SaltusError
from saltus.lm.pocket.folder import PocketFolder
from saltus.lm.pocket.interventions.several import check_interventions
from saltus.lm.pocket.run import PocketRun, build_config, train_run
from saltus.lm.pocket.tokenizers import open_corpus, write_corpus
from saltus.lm.suites.base import Run
from saltus.processes import count_cores, ignore_interrupts, without_interrupts
from saltus.specs.pocket import PocketModelSpec, PocketSpec


class PocketListener(Protocol):
    """Somebody who watches."""

    def started(self, run: Run, step: int) -> None:
        """A run begins, or goes on from the checkpoint at `step`; one that had ended begins at its last step."""
        ...

    def advanced(self, run: Run, step: int, loss: float) -> None:
        """A run has done `step` updates; the mean training loss since the last report, in nats a token."""
        ...

    def finished(self, run: Run) -> None:
        """A run has saved its last checkpoint."""
        ...


def train_pocket(spec: PocketSpec, root: Path, listener: PocketListener, processes: int | None = None) -> None:
    """Train every run of `spec` in the folder `root`, from wherever it stands; a finished suite is left as it is.

    What is saved after a kill and a resumption equals what an unbroken training saves. `processes` is how many train at
    a time, one for each core unless it is given; 1 is this one.
    """
    for model in spec.models:
        build_config(spec, model)  # all are checked before the first one trains
    folder = PocketFolder(root)
    if folder.finished:
        folder.require(spec)
        return
    check_interventions(spec, root.parent)
    started = time.monotonic()
    with folder.training(spec, lambda path: write_corpus(spec.corpus, spec.length, path)):
        jobs = list_jobs(spec)
        if processes == 1:
            _train_here(spec, root, jobs, listener)
        else:
            train_jobs(spec, root, jobs, listener, processes or count_cores())
        versions = {name: version(name) for name in ("saltus", "torch", "transformers", "tokenizers")}
        folder.finish({"versions": versions, "seconds": round(time.monotonic() - started, 3)})


Job = tuple[PocketModelSpec, int]
"""A size and a seed."""


def list_jobs(spec: PocketSpec) -> list[Job]:
    """Every run, the longest first: the processes then end at about the same time."""
    sizes = sorted(spec.models, key=lambda model: model.layers * model.d_model**2, reverse=True)
    return [(model, seed) for model in sizes for seed in range(spec.seeds)]


def _train_here(spec: PocketSpec, root: Path, jobs: Sequence[Job], listener: PocketListener) -> None:
    """One after the other, with one thread, as in a process of their own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    disable_progress_bar()
    folder = PocketFolder(root)
    try:
        corpus = open_corpus(spec.corpus, folder.corpus)
        for model, seed in jobs:
            run = Run(model.name, str(seed))
            trained = PocketRun(spec, model, seed, corpus, root.parent)
            train_run(trained, folder.run(run), _Beside(run, listener))
            listener.finished(run)
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Beside:
    """Tells a suite's listener of one run."""

    run: Run
    listener: PocketListener

    def started(self, step: int) -> None:
        self.listener.started(self.run, step)

    def advanced(self, step: int, loss: float) -> None:
        self.listener.advanced(self.run, step, loss)


def train_jobs(spec: PocketSpec, root: Path, jobs: Sequence[Job], listener: PocketListener, processes: int) -> None:
    """Hand the jobs out to processes, and tell the listener what they say."""
    waiting = list(jobs)
    workers: dict[Connection, _Worker] = {}
    try:
        for _ in range(min(len(waiting), processes)):
            worker = _Worker(spec, root)
            workers[worker.connection] = worker
            worker.begin(waiting.pop(0))
        while workers:
            for ready in connection.wait(list(workers)):
                worker = workers[ready]  # pyright: ignore[reportArgumentType] - only connections are waited for
                if not worker.hear(listener):
                    continue
                if waiting:
                    worker.begin(waiting.pop(0))
                else:
                    workers.pop(worker.connection).close()
    finally:
        for worker in workers.values():
            worker.close()


class _Worker:
    """A process that trains, as its parent sees it."""

    def __init__(self, spec: PocketSpec, root: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(theirs, spec, root), daemon=True)
        with without_interrupts():
            self._process.start()
        theirs.close()

    def begin(self, job: Job) -> None:
        self._run = Run(job[0].name, str(job[1]))
        try:
            self.connection.send(job)
        except ConnectionError:
            raise self._lost() from None

    def hear(self, listener: PocketListener) -> bool:
        """Pass one event on; whether it was the run's end."""
        try:
            event = self.connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if isinstance(event, BaseException):
            raise event
        name, arguments = event
        getattr(listener, name)(self._run, *arguments)
        return name == "finished"

    def close(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()

    def _lost(self) -> SaltusError:
        self._process.join(timeout=5)
        return SaltusError(
            f"the process that trained {self._run} ended with code {self._process.exitcode} (-9 is usually a lack of "
            "memory; 1 comes of a script that trains outside of `if __name__ == '__main__':`); "
            "run the same command again: it resumes from the last checkpoints"
        )


def _serve(parent: Connection, spec: PocketSpec, root: Path) -> None:
    """The life of a worker: it trains what it is sent until nobody sends any more."""
    ignore_interrupts()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    disable_progress_bar()
    folder = PocketFolder(root)
    try:
        corpus = open_corpus(spec.corpus, folder.corpus)
        while True:
            model, seed = parent.recv()
            voice = _Voice(parent)
            run = PocketRun(spec, model, seed, corpus, root.parent)
            train_run(run, folder.run(Run(model.name, str(seed))), voice)
            voice.finished()
    except (EOFError, ConnectionError):
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
        parent.send(error)


@dataclass(frozen=True)
class _Voice:
    """Tells the parent what `PocketListener` is then told."""

    parent: Connection

    def started(self, step: int) -> None:
        self.parent.send(("started", (step,)))

    def advanced(self, step: int, loss: float) -> None:
        self.parent.send(("advanced", (step, loss)))

    def finished(self) -> None:
        self.parent.send(("finished", ()))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, at whatever it is: nobody would hear of it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
