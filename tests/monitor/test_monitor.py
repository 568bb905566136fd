"""A monitor's life: what it writes and when, what fails, what comes back, and what it costs."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.monitor.trainings import (
    OFTEN,
    TOKENIZER,
    Clock,
    OwnAttention,
    be_quiet,
    make_llama,
    read_attention,
    read_logits,
    said,
    train,
    watch,
)
from torch import Tensor, nn

from saltus.errors import SaltusError
from saltus.known_patterns import induction, mask_sequences
from saltus.lm.patching.tap import capture_patterns
from saltus.monitor import Monitor
from saltus.monitor.folder import LONGEST, MOST_FRAMES, MonitorFolder
from saltus.monitor.pacing import Pace
from saltus.monitor.records import Event
from saltus.specs.training import ScheduleSpec
from saltus.storage.files import HeldError


class Known(nn.Module):
    """A model whose attention and answers are set by hand: one head, and a share of right answers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.sharp, self.right = 0.0, 0.0

    def attend(self, tokens: Tensor) -> list[Tensor]:
        """As sharp an induction head as is set; the rest of the attention stays on the query itself."""
        array = tokens.cpu().numpy()
        masks = torch.from_numpy(mask_sequences({"induction": induction}, array).masks[0]).float()
        own = torch.eye(array.shape[1]) * (1.0 - self.sharp * masks.sum(-1, keepdim=True))
        return [(self.sharp * masks + own)[:, None]]

    @staticmethod
    def share(model: "Known") -> float:
        return model.right


def attend(model: Any, tokens: Tensor) -> Sequence[Tensor]:
    return model.attend(tokens)


def watch_known(path: Path, **settings: Any) -> Monitor:
    settings = {"capabilities": [Known.share], "patterns": ["induction"], "attention": attend} | settings
    return watch(path, logits=read_logits, **settings)


def test_masses_are_those_of_the_model_and_entropy_is_in_nats(tmp_path: Path) -> None:
    model = Known()
    monitor = watch_known(tmp_path)
    model.sharp = 0.75
    monitor.step(0, model)
    [row] = monitor.folder.rows()
    assert row.masses is not None
    assert row.entropy is not None
    assert row.masses == pytest.approx(np.array([[[0.75]]]))
    # 12 tokens that stand twice: the second 12 queries know where to look, and 11 others but the first do not.
    assert row.entropy == pytest.approx(12 / 23 * -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), rel=1e-5)
    probe = monitor.folder.probe()
    assert probe is not None
    kept = monitor.folder.pattern(0)[0, 0]
    assert kept[probe.masks[0]] == pytest.approx(0.75, abs=0.005)
    assert len(probe.texts) == probe.tokens.shape[1] == 24


def test_patterns_are_those_that_the_tap_reads(tmp_path: Path) -> None:
    model = make_llama().eval()
    monitor = watch(tmp_path)
    monitor.step(0, model)
    probe = monitor.folder.probe()
    assert probe is not None
    read = capture_patterns(model, torch.from_numpy(probe.tokens)).patterns
    kept = monitor.folder.pattern(0)
    for layer, pattern in enumerate(read):
        assert np.abs(np.sqrt(kept[layer]) - np.sqrt(pattern[0].numpy())).max() < 1 / 255


def test_events_come_as_soon_as_they_are_confirmed_in_every_place(tmp_path: Path) -> None:
    model, heard, console = Known(), list[Event](), be_quiet()
    monitor = watch_known(tmp_path / "mine", on_event=heard.append, console=console, hold=2)
    for step in range(0, 40, 5):
        model.sharp = 0.9 if step >= 10 else 0.0
        model.right = 1.0 if 15 <= step < 30 else 0.25
        before = len(heard)
        monitor.step(step, model)
        assert len(monitor.folder.events()) == len(heard)
        if step in (15, 20, 35):
            assert len(heard) == before + 1
    monitor.close()
    assert [(e.kind, e.unit, e.step, e.after, e.by, e.layer, e.head) for e in heard] == [
        ("sharpened", "induction", 15, 5, 10, 0, 0),
        ("emerged", "share", 20, 10, 15, -1, -1),
        ("lost", "share", 35, 25, 30, -1, -1),
    ]
    assert [event.text for event in monitor.folder.events()] == [event.text for event in heard]
    assert "mine: step 20: share emerged between steps 10 and 15: 100% now" in said(console)
    assert "mine: step 15: layer 0 head 0 sharpened to induction between steps 5 and 10: mass 0.90 now" in said(console)
    records = monitor.folder.records()
    [emerged] = records.curves.emergences()
    assert (emerged.after, emerged.by, emerged.lost) == (10, 15, 30)
    [sharpened] = records.strongest.emergences()
    assert (sharpened.after, sharpened.by) == (5, 10)
    assert records.heads("induction").units == ["layer 0 head 0"]


def test_the_listener_hears_what_fails(tmp_path: Path) -> None:
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if event.kind == "sharpened":
            raise ZeroDivisionError("a mistake in my function")

    monitor = watch_known(tmp_path, scalars={"broken": fail}, on_event=listen, trackers=[Broken()])
    model = Known()
    model.sharp = 1.0
    for step in range(10):
        monitor.step(step, model)
    assert [(event.kind, event.unit) for event in heard] == [
        ("failed", "broken"),
        ("failed", "Trackio"),
        ("sharpened", "induction"),
    ]
    assert [event.unit for event in monitor.folder.events()] == ["broken", "Trackio", "induction", "on_event"]


def fail(model: Any) -> float:
    raise ZeroDivisionError("a mistake in my function")


def test_what_fails_is_told_once_and_the_rest_is_measured(tmp_path: Path) -> None:
    model, console = Known(), be_quiet()
    monitor = watch_known(tmp_path, scalars={"broken": fail}, on_event=fail, console=console, trackers=[Broken()])
    for step in range(0, 30, 5):
        model.right = float(step > 10)
        monitor.step(step, model)
    monitor.close()
    records = monitor.folder.records()
    assert len(records.rows) == 6
    assert records.curves.emergences()[0].by == 15
    assert said(console).count("a mistake in my function") == 2  # of the number, and of the listener
    assert said(console).count("no such server") == 1
    assert [event.unit for event in records.events if event.kind == "failed"] == ["broken", "on_event", "Trackio"]
    assert records.notes == (
        "broken could not be measured in 6 of 6 probes, first because: ZeroDivisionError: a mistake in my function",
    )


class Broken:
    def log(self, *arguments: Any, **options: Any) -> None:
        raise ConnectionError("no such server")


class FailingFile(StringIO):
    """A file on a full disk, or the end of a pipe that nobody reads."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def flush(self) -> None:
        raise self._error


class PipedConsole(Console):
    def on_broken_pipe(self) -> None:
        raise SystemExit(1)  # as rich does, which also closes the stdout of the tests


@pytest.mark.parametrize(
    "file",
    [
        TextIOWrapper(BytesIO(), encoding="ascii"),
        FailingFile(OSError(28, "No space left on device")),
        FailingFile(BrokenPipeError()),
    ],
    ids=["ascii", "full disk", "closed pipe"],
)
def test_a_console_that_cannot_be_written_does_not_stop_the_training(file: TextIO, tmp_path: Path) -> None:
    def größe(model: Any) -> float:
        if model.sharp:
            raise ValueError("größer als erlaubt")
        return 1.0

    model = Known()
    for _ in range(2):  # it goes on, and says so
        monitor = watch_known(tmp_path, console=PipedConsole(file=file, width=200), capabilities=[größe])
        for step in range(12):
            model.sharp = float(step > 6)
            monitor.step(step, model)
        monitor.close()
    folder = MonitorFolder(tmp_path)
    assert [row.step for row in folder.rows()] == [0, 1, 2, 4, 5, 10, 11]
    assert [event.kind for event in folder.events()].count("emerged") == 1
    if isinstance(file, TextIOWrapper):
        file.seek(0)
        assert "gr\\xf6\\xdfe emerged by step 0: 100% now" in file.read()


def test_a_folder_that_cannot_be_written_does_not_stop_the_training(tmp_path: Path) -> None:
    model, console = Known(), be_quiet()
    monitor = watch_known(tmp_path, console=console)
    monitor.step(0, model)
    (tmp_path / "rows.jsonl").unlink()
    (tmp_path / "rows.jsonl").mkdir()
    for step in range(1, 20):
        monitor.step(step, model)
    monitor.close()
    assert said(console).count("cannot be written") == 1


def test_a_disk_that_is_full_for_a_moment_leaves_no_half_line(tmp_path: Path) -> None:
    """The largest size that a file may have stands in for the disk."""
    resource: Any = pytest.importorskip("resource", reason="the size of a file cannot be bounded here")
    model, console = Known(), be_quiet()
    monitor = watch_known(tmp_path, console=console)
    monitor.step(0, model)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "rows.jsonl").stat().st_size + 20, hard))
    try:
        monitor.step(5, model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "rows.jsonl").read_bytes().endswith(b"}\n")
    monitor.step(10, model)
    with (tmp_path / "rows.jsonl").open("a") as file:  # and what another writer left unfinished is cut off
        file.write('{"step": 12')
    monitor.step(15, model)
    monitor.close()
    assert [row.step for row in monitor.folder.rows()] == [0, 10, 15]
    assert said(console).count("cannot be written") == 1


@pytest.mark.parametrize("name", ["patterns", "events.jsonl"])
def test_what_cannot_be_kept_of_a_probe_changes_no_event(name: str, tmp_path: Path) -> None:
    """A row is on disk and the pattern or the event that follows it cannot be written, for a while."""
    model, heard, console, trackio = Known(), list[Event](), be_quiet(), Kept()
    monitor = watch_known(
        tmp_path, console=console, on_event=heard.append, trackers=[trackio], schedule=ScheduleSpec(every=1)
    )
    monitor.step(0, model)
    path, aside = tmp_path / name, tmp_path / "aside"
    for step in range(1, 12):
        if step == 4:
            path.rename(aside) if path.exists() else None
            path.touch() if name == "patterns" else path.mkdir()
        if step == 9:
            path.unlink() if name == "patterns" else path.rmdir()
            aside.rename(path) if aside.exists() else None
        model.right = float(step >= 6)
        monitor.step(step, model)
    monitor.close()
    assert [(event.kind, event.after, event.by) for event in heard if event.kind != "failed"] == [("emerged", 5, 6)]
    assert trackio.steps == list(range(12))
    assert said(console).count("cannot be written") == 1
    assert "share emerged between steps 5 and 6" in said(console)


class Kept:
    """A tracker that keeps the steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.steps.append(step)


def test_a_model_that_cannot_be_read_says_why_and_what_to_do(tmp_path: Path) -> None:
    console = be_quiet()
    monitor = watch(tmp_path, console=console)
    for step in range(3):
        monitor.step(step, OwnAttention())
    assert said(console).count("OwnAttention holds 0 models of transformers") == 1


def test_a_capability_that_gives_no_share_is_refused_once(tmp_path: Path) -> None:
    """A percentage is above every threshold; what rounding makes of 1 is 1, and what is not known stays so."""
    answers = iter([20.0, 20.0, -0.1, float("inf"), 1.0 + 1e-7, float("nan")])

    def share(model: Any) -> float:
        return next(answers)

    console = be_quiet()
    monitor = watch_known(tmp_path, capabilities=[share], console=console, schedule=ScheduleSpec(every=1))
    for step in range(6):
        monitor.step(step, Known())
    rows = monitor.folder.rows()
    assert [list(row.failed) for row in rows] == [["share"]] * 4 + [[], []]
    assert rows[4].shares == {"share": 1.0}
    assert np.isnan(rows[5].shares["share"])
    assert [event.kind for event in monitor.folder.events()] == ["failed"]
    assert said(console).count("20 was given; a capability gives a share from 0 to 1") == 1


def test_own_functions_are_asked_where_there_is_no_language_model(tmp_path: Path) -> None:
    """A tokenizer was given, so that prompts are asked and patterns are read: neither can be here."""
    monitor = watch(tmp_path, capabilities=["repetition", Known.share], scalars={"norm": measure_norm})
    monitor.step(0, Known())
    [row] = monitor.folder.rows()
    assert (row.shares, row.scalars, list(row.failed)) == ({"share": 0.0}, {"norm": 0.0}, ["model"])


@pytest.mark.parametrize("patterns", [["induction"], []])
def test_own_functions_get_the_module_that_is_trained(patterns: list[str], tmp_path: Path) -> None:
    """A language model with a head of the user's, within torch.compile."""

    class WithHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.language, self.value = make_llama(), nn.Linear(1, 1, bias=False)

    model = WithHead()
    nn.init.constant_(model.value.weight, 0.5)
    settings: dict[str, Any] = {"capabilities": [get_value], "scalars": {"own": get_value}, "patterns": patterns}
    monitor = watch(tmp_path, **settings)
    monitor.step(0, torch.compile(model))  # pyright: ignore[reportArgumentType]  # it is a module
    [row] = monitor.folder.rows()
    assert (row.shares, row.scalars, row.failed) == ({"get_value": 0.5}, {"own": 0.5}, {})


def get_value(model: Any) -> float:
    return model.value.weight.item()


class FullyShardedDataParallel(nn.Module):
    pass


class DTensor(nn.Parameter):
    pass


def spread_weight(weight: nn.Parameter) -> nn.Module:
    model = nn.Linear(2, 2)
    model.weight = weight
    return model


def spread_by_deepspeed() -> nn.Module:
    model = nn.Linear(2, 2)
    vars(model.weight)["ds_id"] = 0
    return model


@pytest.mark.parametrize(
    "model",
    [FullyShardedDataParallel(), spread_weight(DTensor(torch.ones(2, 2))), spread_by_deepspeed()],
    ids=["modules", "weights", "deepspeed"],
)
def test_weights_that_are_spread_over_processes_are_refused_and_the_training_goes_on(
    model: nn.Module, tmp_path: Path
) -> None:
    console = be_quiet()
    monitor = watch(tmp_path, console=console)
    for step in range(40):
        monitor.step(step, model)
    assert said(console).count("the weights are spread over processes") == 1
    assert monitor.folder.rows() == []


KILLED = """
import os, sys
from pathlib import Path
from tests.monitor.trainings import OwnAttention, read_attention, read_logits, watch
monitor = watch(Path(sys.argv[1]), capabilities=[], logits=read_logits, attention=read_attention)
model = OwnAttention()
for step in range(1000):
    monitor.step(step, model)
    print(step, flush=True)
"""


def test_a_kill_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        last = next(int(line) for line in process.stdout if int(line) >= 23)
        process.send_signal(signal.SIGKILL)
    steps = [row.step for row in MonitorFolder(tmp_path).rows()]
    assert steps[: steps.index(20) + 1] == list(OFTEN.list_steps(20))
    assert last >= 23
    assert not MonitorFolder(tmp_path).finished
    with (tmp_path / "rows.jsonl").open("a") as file:  # as if it had been killed in the midst of a line
        file.write('{"step": 1000')
    monitor = watch(tmp_path, capabilities=[], logits=read_logits, attention=read_attention)
    monitor.step(2000, OwnAttention())
    monitor.close()
    assert [row.step for row in MonitorFolder(tmp_path).rows()] == [*steps, 2000]


def test_a_training_that_is_resumed_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    first = watch_known(tmp_path)
    model = Known()
    model.right = 1.0
    for step in range(13):
        first.step(step, model)
    first.close()
    assert first.folder.finished
    heard: list[Event] = []
    second = watch_known(tmp_path, on_event=heard.append, schedule=ScheduleSpec(every=10))
    for step in range(12, 31):
        second.step(step, model)
    assert not second.folder.finished
    assert [row.step for row in second.folder.rows()] == [0, 1, 2, 4, 5, 10, 12, 20, 30]
    assert heard == []  # that it emerged was told before
    with pytest.raises(HeldError):
        watch_known(tmp_path).step(30, model)
    second.close()
    other = watch_known(tmp_path, patterns=["first_token"])
    with pytest.raises(SaltusError, match="does not describe the monitored training"):
        other.step(31, model)
    spent = [row.spent for row in second.folder.rows()]
    assert spent == sorted(spent)


@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor])
@pytest.mark.parametrize("again", [False, True])
def test_steps_that_come_back_take_back_what_was_measured_after_them(
    again: bool, kind: Callable[[int], Any], tmp_path: Path
) -> None:
    model, console = Known(), be_quiet()
    monitor = watch_known(tmp_path, console=console)
    for step in range(28):
        model.right = float(step >= 15)
        monitor.step(kind(step), model)
    if again:  # in another process
        monitor.close()
        monitor = watch_known(tmp_path, console=console)
    for step in range(12, 38):
        model.right = float(step >= 30)
        monitor.step(kind(step), model)
    monitor.close()
    records = monitor.folder.records()
    assert [row.step for row in records.rows] == [0, 1, 2, 4, 5, 10, 12, 15, 20, 25, 30, 35, 37]
    assert records.curves.emergences()[0].by == 30
    assert [(event.kind, event.step, event.by) for event in records.events] == [
        ("rewound", 27, 12),
        ("emerged", 35, 30),
    ]
    gone = 4 if again else 3  # the last step was measured when the monitor was closed
    assert f"the training went back from step 27 to 12; {gone} probes from there on are taken back" in said(console)
    assert monitor.folder.frames() == [row.step for row in records.rows]
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len(lines) == len(records.rows) + gone + 1  # nothing was deleted


@given(
    st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0.001, 3.0)), min_size=1, max_size=300),
    st.floats(0.005, 0.5),
)
def test_probes_take_no_more_than_their_share_once_their_cost_is_known(
    laps: list[tuple[float, float]], at_most: float
) -> None:
    clock, pace, known = Clock(), None, 0.0
    pace = Pace(ScheduleSpec(every=3), at_most, clock)
    for step, (training, cost) in enumerate(laps):
        if pace.is_due(step):
            if known:  # what the last one cost was foreseen
                assert pace.spent + known <= at_most * pace.training + 1e-9
            pace.start_probe()
            clock.now += cost
            pace.end_probe(step)
            known = cost
        clock.now += training
    pace.is_due(len(laps))
    assert pace.training + pace.spent == pytest.approx(clock.now)


def test_the_schedule_is_kept_while_probes_are_cheap_and_stretched_when_they_are_not() -> None:
    def follow(cost: float) -> list[int]:
        clock, probed = Clock(), list[int]()
        pace = Pace(ScheduleSpec(every=10), 0.02, clock)
        for step in range(1001):
            if pace.is_due(step):
                pace.start_probe()
                clock.now += cost
                pace.end_probe(step)
                probed.append(step)
            clock.now += 1.0
        return probed

    assert follow(0.0) == list(ScheduleSpec(every=10).list_steps(1000))
    dear = follow(1.0)  # one second, of which 0.02 is 50 seconds of training
    assert dear == [0, *range(100, 1001, 50)]
    assert follow(0.1)[-1] == 1000
    assert len(follow(0.1)) > 90


def test_a_schedule_that_never_becomes_regular_takes_no_memory() -> None:
    pace, probed = Pace(ScheduleSpec(every=10**9), None, Clock()), list[int]()
    for step in range(70):
        if pace.is_due(step):
            pace.start_probe()
            pace.end_probe(step)
            probed.append(step)
    assert probed == [0, 1, 2, 4, 8, 16, 32, 64]


def test_the_overhead_is_recorded(tmp_path: Path) -> None:
    clock = Clock()
    model = Known()

    def take_time(model: Any) -> float:
        clock.now += 2.0
        return 0.0

    monitor = watch_known(tmp_path, clock=clock, at_most=0.1, scalars={"slow": take_time})
    for step in range(101):
        monitor.step(step, model)
        clock.now += 1.0
    monitor.close()
    records = monitor.folder.records()
    assert [row.step for row in records.rows] == [0, 40, 60, 80, 100]
    assert records.rows[-1].training == 100.0
    assert records.overhead == pytest.approx(0.1)
    assert records.summary is not None
    assert records.summary["seconds"] == {"training": 101.0, "probes": 10.0}


def test_losses_are_averaged_between_probes_and_a_loss_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    monitor = watch_known(tmp_path)
    for step in range(11):
        monitor.step(step, Known(), loss=torch.tensor(float(step)) if step < 6 else float("nan"))
    assert [row.loss for row in monitor.folder.rows()] == [0.0, 1.0, 2.0, 3.5, 5.0, None]
    json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[-1], parse_constant=pytest.fail)


def test_a_training_that_changes_its_directory_is_watched_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monitor = watch_known(Path("mine"))
    monitor.step(0, Known())
    monkeypatch.chdir(tmp_path / "elsewhere")
    monitor.step(5, Known())
    monitor.close()
    assert [row.step for row in MonitorFolder(tmp_path / "mine").rows()] == [0, 5]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_other_processes_of_a_group_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saltus.monitor.monitor.is_first_rank", lambda: False)
    monitor = watch_known(tmp_path / "none")
    monitor.step(0, Known())
    monitor.close()
    assert not (tmp_path / "none").exists()


def test_patterns_are_thinned_out_before_the_disk_is_full(tmp_path: Path) -> None:
    folder = MonitorFolder(tmp_path)
    for step in range(MOST_FRAMES + 1):
        folder.keep_pattern(step, np.ones((1, 1, 2 * LONGEST, 2 * LONGEST), dtype=np.float32))
    assert folder.frames() == list(range(0, MOST_FRAMES + 1, 2))
    assert folder.pattern(0).shape == (1, 1, LONGEST, LONGEST)


def test_a_folder_of_any_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run-2026112906"  # which could be a hash
    watch_known(path).step(0, Known())
    assert MonitorFolder(path).records().spec.group == "run-2026112906"


ROW = '"step": 1, "training": 1.0, "spent": 0.1'


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rows.jsonl", '{"step": 1, "shape": 3}'),
        ("rows.jsonl", '{"step": Infinity, "training": 1.0, "spent": 0.1}'),
        ("rows.jsonl", f'{{"step": 1, "training": 1{"0" * 400}, "spent": 0.1}}'),
        ("rows.jsonl", f'{{{ROW}, "masses": [1.0]}}'),
        ("rows.jsonl", f'{{{ROW}, "masses": [[[1.0, 0.5]]], "entropy": [[1.0]]}}'),
        ("rows.jsonl", f'{{{ROW}, "masses": [[[1.0]]], "entropy": [1.0]}}'),
        ("rows.jsonl", "[" * 100_000),
        ("events.jsonl", '{"kind": "emerged", "step": Infinity}'),
        ("events.jsonl", '{"kind": "emerged", "step": 1, "by": "soon"}'),
        ("events.jsonl", '{"kind": "emerged", "step": 1, "layer": []}'),
    ],
)
def test_a_line_that_is_no_record_is_named(name: str, line: str, tmp_path: Path) -> None:
    monitor = watch(tmp_path, capabilities=[], patterns=["induction"], logits=read_logits, attention=read_attention)
    monitor.step(0, OwnAttention())
    whole = MonitorFolder(tmp_path).records()
    assert whole.masses.shape == (1, 1, 1, 1)
    with (tmp_path / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(SaltusError, match=rf"has no record in line {2 - (name == 'events.jsonl')}; delete that line"):
        MonitorFolder(tmp_path).records()


@pytest.mark.parametrize("layers", [[], [torch.zeros(8, 0, 24, 24)]], ids=["no layer", "no heads"])
def test_attention_of_no_heads_is_refused_once(layers: list[Tensor], tmp_path: Path) -> None:
    def attend(model: Any, tokens: Tensor) -> list[Tensor]:
        return layers

    console = be_quiet()
    monitor = watch(
        tmp_path, capabilities=[], patterns=["induction"], logits=read_logits, attention=attend, console=console
    )
    for step in range(6):
        monitor.step(step, OwnAttention())
    assert said(console).count("attention gave a layer without heads, or no layer") == 1
    assert MonitorFolder(tmp_path).records().masses.shape == (5, 0, 0, 1)


@pytest.mark.parametrize(
    ("settings", "said_then"),
    [
        ({"capabilities": ["copyin"]}, "'copyin' was given; allowed are copying, repetition"),
        ({"capabilities": ["copying", "copying"]}, "'copying' was given twice"),
        ({"capabilities": ["copying"], "tokenizer": None}, "copying asks prompts and no tokenizer was given"),
        ({"patterns": ["induction"], "tokenizer": None}, "neither a tokenizer nor tokens were given"),
        ({"tokens": [[0.5]]}, "the probe batch is integers"),
        ({"trackers": [object()]}, "trackers: object was given"),
        ({"scalars": {"loss": fail}}, "scalars: 'loss' was given, and another number of this monitor has that name"),
        ({"scalars": {"overhead": fail}}, "scalars: 'overhead' was given"),
        ({"scalars": {"step": fail}}, "scalars: 'step' was given"),
        ({"scalars": {"induction": fail}}, "scalars: 'induction' was given"),
        ({"scalars": {"fail": fail}, "capabilities": [fail]}, "scalars: 'fail' was given"),
        (
            {"scalars": {"repetition probability": fail}, "capabilities": ["repetition"]},
            "scalars: 'repetition probability' was given",
        ),
        ({"patterns": [induction], "capabilities": [induction]}, "capabilities: 'induction' was given"),
        ({"at_most": 0.0}, "MonitorSpec.at_most: 0.0 was given"),
    ],
)
def test_wrong_arguments_are_one_sentence(settings: dict[str, Any], said_then: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"tokenizer": TOKENIZER, **settings}
    with pytest.raises(SaltusError) as refused:
        Monitor(tmp_path, **arguments)
    assert said_then in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_nothing_that_is_answered(tmp_path: Path) -> None:
    text = tmp_path / "story.txt"
    text.write_text(" ".join(str(number % 10) for number in range(9000)), encoding="utf-8")
    with pytest.raises(SaltusError, match=r"story.* is a text, of which no model predicts every token"):
        Monitor(tmp_path / "watched", tokenizer=TOKENIZER, capabilities=[f"text:{text}"])


def test_a_training_is_watched_without_capabilities_or_patterns(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, console=be_quiet(), at_most=None, scalars={"norm": measure_norm})
    model = make_llama()
    train(model, 3, monitor)
    monitor.close()
    records = monitor.folder.records()
    assert [row.scalars["norm"] > 0 for row in records.rows] == [True] * 4
    with pytest.raises(SaltusError, match="has no probe that measured anything"):
        records.find_curves(None)


def measure_norm(model: Any) -> float:
    return sum(float(weight.norm()) for weight in model.parameters())


def test_a_batch_of_ones_own_is_what_patterns_are_read_on(tmp_path: Path) -> None:
    monitor = Monitor(
        tmp_path,
        tokens=torch.tensor([[1, 2, 1, 2, 1]]),
        attention=read_attention,
        logits=read_logits,
        console=be_quiet(),
    )
    monitor.step(0, OwnAttention())
    probe = monitor.folder.probe()
    assert probe is not None
    assert probe.tokens.tolist() == [[1, 2, 1, 2, 1]]
    assert probe.texts == ()


@pytest.mark.parametrize(
    ("layers", "said_of_it"),
    [
        ([torch.full((8, 1, 24, 24), 7.0)], "attention gave weights from 7 on, which sum to up to 168 for a query"),
        ([torch.full((8, 1, 24, 24), -1.0)], "attention gave weights from -1 on"),
        (torch.zeros(8, 1, 24, 24), "attention gave a layer without heads, or no layer; give [sequence, head"),
    ],
    ids=["scores", "negative", "no list"],
)
def test_what_is_no_attention_is_refused_and_sharpens_no_head(layers: Any, said_of_it: str, tmp_path: Path) -> None:
    def attend(model: Any, tokens: Tensor) -> Any:
        return layers

    console = be_quiet()
    monitor = watch(
        tmp_path, capabilities=[], patterns=["induction"], logits=read_logits, attention=attend, console=console
    )
    for step in range(6):
        monitor.step(step, OwnAttention())
    monitor.close()
    assert said_of_it in said(console)
    assert not np.isfinite(MonitorFolder(tmp_path).records().masses).any()


def test_a_step_before_the_first_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="step is -1; it is the number of updates that are done, 0 before the first"):
        watch(tmp_path, capabilities=[], logits=read_logits, attention=None, patterns=()).step(-1, OwnAttention())


def test_one_name_may_stand_for_itself(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, tokenizer=TOKENIZER, capabilities="repetition", patterns="induction")
    assert (monitor.spec.capabilities, monitor.spec.patterns) == (("repetition",), ("induction",))
