"""Watch a training in three lines: make a monitor, call `step` after every update, and `close` at the end."""

import operator
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from saltus.known_patterns import KNOWN_PATTERNS, KnownPattern
from saltus.monitor.events import Changes, list_numbers, say
from saltus.monitor.folder import MonitorFolder
from saltus.monitor.pacing import Clock, Pace
from saltus.monitor.prepare import (
    Capability,
    describe_batch,
    prepare_capabilities,
    prepare_patterns,
    refuse_shared_names,
)
from saltus.monitor.probes import OwnMeasure, Probes, ReadAttention, ReadLogits, find_device
from saltus.monitor.quiet import is_first_rank, require_whole, undisturbed, unwrap
from saltus.monitor.records import Event, Row
from saltus.monitor.trackers import adapt
from saltus.provenance import describe_provenance
from saltus.specs.monitor import MonitorSpec
from saltus.specs.training import ScheduleSpec

if TYPE_CHECKING:
    from transformers import TrainerCallback


class Monitor:
    """Measures a model while it trains, and changes nothing of the training.

    Args:
        path: the folder, made if it is not there; a training that is resumed goes on in the same one.
        tokenizer: of the model; for capabilities that ask prompts, and for the probe batch.
        capabilities: names, files of prompts, descriptions, or functions of the model; a function is called with
            dropout off and without gradients, and gives a share from 0 to 1.
        patterns: names of known patterns, or functions from tokens [position] to a mask [query, key].
        scalars: the user's own numbers, by name: functions of the model.
        tokens: the probe batch, integers [sequence, position]; random tokens that stand twice if it is not given.
        logits: `(model, tokens [sequence, position]) -> [sequence, position, vocabulary]`, for a model that is not on
            transformers' attention interface.
        attention: `(model, tokens) -> layers` of [sequence, head, query, key], for such a model.
        group: size or arm, what seeds are compared within; the folder's name if it is not given.
        seed: the name of the seed.
        schedule: the steps that are measured.
        at_most: seconds of probes in each second of training; the schedule is stretched to keep it. None for no bound.
        threshold: share of right prompts with which a capability is there.
        sharp: share of the way from chance to all of its attention with which a head has a pattern.
        hold: probes in a row that confirm an event.
        on_event: called with each event as it is confirmed; also with what failed, but for itself.
        trackers: wandb or trackio (the module or a run), or a SummaryWriter; none unless given.
        console: where events are told.
        master_seed: of prompts and of the probe batch.
        clock: seconds from any origin.

    Raises:
        SaltusError: if an argument is wrong. After the first `step` nothing is raised any more: what fails is told
            once, and the training goes on.

    """

    def __init__(
        self,
        path: str | Path,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        capabilities: Sequence[Capability] = (),
        patterns: Iterable[str | KnownPattern] | None = None,
        scalars: Mapping[str, OwnMeasure] | None = None,
        tokens: Any = None,
        logits: ReadLogits | None = None,
        attention: ReadAttention | None = None,
        group: str | None = None,
        seed: int | str = 0,
        schedule: ScheduleSpec | None = None,
        at_most: float | None = 0.02,
        threshold: float = 0.75,
        sharp: float = 0.5,
        hold: int = 2,
        on_event: Callable[[Event], object] | None = None,
        trackers: Sequence[object] = (),
        console: Console | None = None,
        master_seed: int = 0,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.folder = MonitorFolder(Path(path).absolute())  # a training may change its directory
        if isinstance(capabilities, str):
            capabilities = (capabilities,)
        if isinstance(patterns, str):
            patterns = (patterns,)
        if patterns is None:  # all that are known, where they can be read
            patterns = KNOWN_PATTERNS if (tokenizer or tokens is not None) and (attention or not logits) else ()
        masks = prepare_patterns(patterns, tokens, tokenizer, master_seed)
        prompts, own = prepare_capabilities(capabilities, tokenizer, master_seed)
        refuse_shared_names(masks.names if masks else (), prompts, own, scalars or ())
        self._probes = Probes(prompts, own, dict(scalars or {}), masks, logits, attention)
        self._batch = describe_batch(masks, tokenizer) if masks else None
        self.spec = MonitorSpec(
            group=self.folder.path.name if group is None else group,
            seed=str(seed),
            capabilities=self._probes.capabilities,
            patterns=masks.names if masks else (),
            scalars=tuple(self._probes.scalars),
            sha256=self._probes.sha256,
            schedule=schedule or ScheduleSpec(every=100),
            at_most=at_most,
            threshold=threshold,
            sharp=sharp,
            hold=hold,
        )
        self._on_event, self._trackers = on_event, [adapt(tracker) for tracker in trackers]
        self._console = console or Console()
        self._pace = Pace(self.spec.schedule, at_most, clock)
        self._held: ExitStack | None = None
        self._step: int | None = None  # of the last call
        self._probed: int | None = None  # of the last probe
        self._loss: Tensor | float = 0.0  # the sum of those since the last probe
        self._losses = 0
        self._changes = self._replay([])
        self._told: set[str] = set()
        self._model: weakref.ref[nn.Module] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def step(self, step: int, model: nn.Module, loss: Tensor | float | None = None) -> None:
        """After the update with which `step` updates are done (0 before the first): measure if it is due.

        Call it at every step, on every process; only the first process of a group measures. With gradient accumulation
        it may be called at every part: the losses of one step are averaged.

        Raises:
            TypeError: if the step is no whole number.
            ValueError: if it is below 0.

        """
        if not is_first_rank():
            return
        step = operator.index(step)  # a tensor may be counted up in place
        if step < 0:
            raise ValueError(f"step is {step}; it is the number of updates that are done, 0 before the first")
        if self._held is None:
            self._open(step)
        with self._surviving("monitor"):
            self._follow(step, model, loss)

    def close(self, *, measure: bool = True) -> None:
        """Measure the last step, if it was not, and mark the folder as finished.

        Without `measure` it is not measured: where the model does not have the weights of the last step any more.
        """
        if self._held is None:
            return
        with self._surviving("monitor"), self._held:
            self._pace.book_training()
            model = self._model() if self._model else None
            if measure and model is not None and self._step is not None and self._step != self._probed:
                self._probe(self._step, model)
            seconds = {"training": round(self._pace.training, 3), "probes": round(self._pace.spent, 3)}
            self.folder.finish({"seconds": seconds, **describe_provenance("torch", "transformers")})
        self._held = None

    def callback(self) -> "TrainerCallback":
        """A callback for the Trainer of transformers."""
        from saltus.monitor.callbacks.huggingface import MonitorCallback

        return MonitorCallback(self)

    def lightning_callback(self) -> Any:
        """A callback for the Trainer of Lightning, which must be installed."""
        from saltus.monitor.callbacks.lightning import make_callback

        return make_callback(self)

    def _open(self, step: int) -> None:
        """Hold the folder, and go on from what is in it."""
        held = ExitStack()
        held.enter_context(self.folder.writing(self.spec, again=True))
        with held:
            self.folder.reopen()
            if self._batch:
                self.folder.keep_probe(self._batch)
            rows = self.folder.rows()
            self._changes = self._replay(rows)
            if rows:
                self._pace.resume(rows[-1].step, rows[-1].training, rows[-1].spent)
                self._step = self._probed = rows[-1].step
                if step >= rows[-1].step:
                    self._print(f"goes on after step {rows[-1].step:,}")
            self._held = held.pop_all()

    def _replay(self, rows: Sequence[Row]) -> Changes:
        """What is there after `rows`, whose events were told."""
        changes = Changes(self.spec, self._batch.chance.tolist() if self._batch else [])
        for row in rows:
            changes.feed(row)
        return changes

    def _follow(self, step: int, model: nn.Module, loss: Tensor | float | None) -> None:
        if step != self._step:
            if self._step is not None and step < self._step:
                self._rewind(step)
            self._step, self._model = step, weakref.ref(model)
        if loss is not None:
            self._loss = self._loss + (loss.detach().float().mean() if isinstance(loss, Tensor) else loss)
            self._losses += 1
        if self._pace.is_due(step) and step != self._probed:
            self._probe(step, model)

    def _rewind(self, step: int) -> None:
        """The training has gone back: take back what was measured after, and say so."""
        rows = self.folder.rows()
        kept = [row for row in rows if row.step < step]
        text = f"the training went back from step {self._step:,} to {step:,}"
        if len(kept) < len(rows):
            self.folder.rewind(step)
            text += f"; {len(rows) - len(kept)} probes from there on are taken back"
        self._changes = self._replay(kept)
        self._pace.rewind(step)
        self._probed = None
        self._loss, self._losses = 0.0, 0
        self._tell([Event("rewound", self._step or 0, by=step, text=text)])

    def _probe(self, step: int, model: nn.Module) -> None:
        """Measure, write, then tell."""
        inner = unwrap(model)
        _wait_for(inner)
        self._pace.start_probe()
        try:
            require_whole(inner)
            with undisturbed(inner):
                measured = self._probes.measure(inner)
        finally:
            self._pace.end_probe(step)
            self._probed = step
        row = Row(
            step=step,
            training=self._pace.training,
            spent=self._pace.spent,
            loss=float(self._loss) / self._losses if self._losses else None,
            shares=measured.shares,
            probabilities=measured.probabilities,
            scalars=measured.scalars,
            masses=measured.scores.mass if measured.scores else None,
            entropy=measured.scores.entropy if measured.scores else None,
            failed=measured.failed,
        )
        self._loss, self._losses = 0.0, 0
        events: Sequence[Event] = ()
        with self._surviving("folder"):
            self.folder.append_row(row)
            events = self._changes.feed(row)  # of the rows on disk alone, as after a restart
            if measured.scores:
                self.folder.keep_pattern(step, measured.scores.first)
        for part, reason in measured.failed.items():
            self._tell_failure(part, reason)
        self._tell(events)
        for tracker in self._trackers:
            with self._surviving(type(tracker).__name__.lstrip("_")):
                tracker.log(step, list_numbers(row, self.spec.patterns))
        self._pace.book_probe()

    def _tell(self, events: Sequence[Event]) -> None:
        """In the folder, on the console, and through the user's function."""
        if not events:
            return
        with self._surviving("folder"):
            self.folder.append_events(events)
        for line in say(events):
            self._print(line)
        if self._on_event:
            for event in events:
                if (event.kind, event.unit) != ("failed", "on_event"):
                    with self._surviving("on_event"):
                        self._on_event(event)

    @contextmanager
    def _surviving(self, part: str) -> Generator[None, None, None]:
        """What goes wrong within is told, and the training goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - disks, trackers and functions of the user's break in any way
            self._tell_failure(part, f"{type(error).__name__}: {error}")

    def _tell_failure(self, part: str, reason: str) -> None:
        """Once for each part."""
        if part in self._told:
            return
        self._told.add(part)
        text = f"{part} failed and the training goes on: {reason}"
        self._tell([Event("failed", self._step or 0, part, text=text)])

    def _print(self, text: str) -> None:
        """On the console, if it can be written; what its encoding lacks is escaped."""
        line = f"{self.folder.path.name}: {text}"
        # rich ends the process where nobody reads a pipe any more.
        with suppress(Exception, SystemExit):
            encoding = self._console.encoding
            said = line.encode(encoding, "backslashreplace").decode(encoding)
            self._console.print(said, markup=False, highlight=False, soft_wrap=True)


def _wait_for(model: nn.Module) -> None:
    """Let the device end what the training has asked of it, which is not the probe's time."""
    device = find_device(model)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
