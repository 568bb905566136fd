"""Pocket suites: ordinary checkpoints, runs that depend on nothing but themselves, and ends of every kind."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from saltus.errors import SaltusError
from saltus.lm.pocket import run as run_module
from saltus.lm.pocket.corpora import PeriodicCorpus, describe_text
from saltus.lm.pocket.folder import PocketFolder, PocketRunFolder, list_pocket_steps
from saltus.lm.pocket.presets import DEMO_POCKET, PERIODIC, choose_pocket
from saltus.lm.pocket.run import PocketRun, build_config, train_run
from saltus.lm.pocket.tokenizers import open_corpus, write_corpus
from saltus.lm.pocket.train import list_jobs, train_pocket
from saltus.lm.suites.base import Run
from saltus.report.terminal.pocket import PocketView
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec
from saltus.storage.folder import AGAIN

PATIENCE = 120.0
"""Seconds after which something that does not happen counts as not happening; nothing is timed by it."""

SMALL = PocketModelSpec(name="small", layers=1, d_model=8, heads=2)
LARGE = PocketModelSpec(name="large", layers=2, d_model=16, heads=2, rotary=0.5)

TINY = PocketSpec(
    name="tiny",
    models=(SMALL, LARGE),
    seeds=2,
    corpus=PeriodicCorpusSpec(vocabulary=12),
    length=8,
    batch=4,
    steps=70,
    every=30,
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in the processes that train, with as little to say."""
    torch.set_num_threads(1)
    disable_progress_bar()


class Interruption(Exception):  # noqa: N818 - it is no error
    pass


class Log:
    """Notes what it is told of one run; ends it at a chosen step."""

    def __init__(self, stop: int | None = None) -> None:
        self.begins: list[int] = []
        self.losses: dict[int, float] = {}
        self._stop = stop

    def started(self, step: int) -> None:
        self.begins.append(step)

    def advanced(self, step: int, loss: float) -> None:
        self.losses[step] = loss
        if self._stop is not None and step >= self._stop:
            raise Interruption


def train_here(spec: PocketSpec, model: PocketModelSpec, seed: int, root: Path, stop: int | None = None) -> Log:
    """One run of a suite, in this process."""
    folder, log = PocketFolder(root), Log(stop)
    with folder.training(spec, lambda path: write_corpus(spec.corpus, spec.length, path)):
        run = PocketRun(spec, model, seed, open_corpus(spec.corpus, folder.corpus))
        train_run(run, folder.run(Run(model.name, str(seed))), log)
    return log


def run_folder(root: Path, model: PocketModelSpec, seed: int) -> PocketRunFolder:
    return PocketFolder(root).run(Run(model.name, str(seed)))


def assert_equal_runs(one: PocketRunFolder, other: PocketRunFolder) -> None:
    """Every file of every checkpoint, to the last bit, and nothing else beside them."""
    assert sorted(p.name for p in one.path.iterdir()) == sorted(p.name for p in other.path.iterdir())
    for step in one.schedule:
        files = sorted(one.checkpoint(step).iterdir())
        assert [f.name for f in files] == sorted(f.name for f in other.checkpoint(step).iterdir())
        for file in files:
            assert file.read_bytes() == (other.checkpoint(step) / file.name).read_bytes(), file


def with_values(spec: PocketSpec, **values: object) -> PocketSpec:
    return PocketSpec.model_validate(spec.model_dump() | values)


# --- what a checkpoint is ----------------------------------------------------------------------------------------


def test_checkpoints_load_as_the_model_that_was_trained(tmp_path: Path) -> None:
    suite = PocketFolder(tmp_path)
    with suite.training(TINY, lambda path: write_corpus(TINY.corpus, TINY.length, path)):
        folder = suite.run(Run("large", "1"))
        run = PocketRun(TINY, LARGE, 1, PeriodicCorpus(12))
        assert run.advance(40) == pytest.approx(40 * np.log(12), rel=0.1)
        run.save(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder.checkpoint(40))
    tokenizer = AutoTokenizer.from_pretrained(folder.checkpoint(40))
    tokens = tokenizer("0 7 3 1 0 7", return_tensors="pt")["input_ids"]
    assert tokens.tolist() == [[0, 7, 3, 1, 0, 7]]
    with torch.no_grad():
        expected = run.model(tokens).logits
        assert_array_equal(loaded(tokens).logits.numpy(), expected.numpy())
    config = loaded.config
    assert (config.model_type, config.num_hidden_layers, config.hidden_size) == ("gpt_neox", 2, 16)
    assert (config.num_attention_heads, config.intermediate_size, config.vocab_size) == (2, 64, 12)
    assert loaded.get_submodule("gpt_neox.layers.0.attention").rotary_ndims == 4  # half of a head of 8


def test_schedule_is_that_of_pythia(tmp_path: Path) -> None:
    train_here(TINY, SMALL, 0, tmp_path)
    there = {path.name for path in (tmp_path / "small" / "seed0").iterdir()}
    assert there == {f"step{step}" for step in (0, 1, 2, 4, 8, 16, 30, 60, 70)}
    assert list_pocket_steps(TINY) == (0, 1, 2, 4, 8, 16, 30, 60, 70)


def test_first_update_is_that_of_adamw(tmp_path: Path) -> None:
    """Its moments start at zero, so every weight moves by the learning rate, but for what decays."""
    spec = with_values(TINY, warmup=4, learning_rate=0.01, weight_decay=0.1)
    run = PocketRun(spec, SMALL, 0, PeriodicCorpus(12))
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    run.advance(1)
    rate = 0.01 / 4
    moved = 0
    for name, parameter in run.model.named_parameters():
        assert parameter.grad is not None
        large = parameter.grad.abs() > 1e-5  # where Adam's epsilon is nothing
        step = before[name] * (1 - rate * 0.1) - parameter.detach()
        torch.testing.assert_close(step[large], rate * parameter.grad.sign()[large], rtol=0.01, atol=1e-6)
        moved += int(large.sum())
    assert moved > 500


def test_micro_batches_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = (PocketRun(TINY, LARGE, 0, PeriodicCorpus(12)) for _ in range(2))
    expected = whole.advance(3)
    monkeypatch.setattr(run_module, "MICRO_BATCH_TOKENS", 3 * TINY.length)  # parts of 3 sequences and of 1
    assert cut.advance(3) == pytest.approx(expected, abs=1e-5)
    for one, other in zip(whole.model.parameters(), cut.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-4)


# --- what a run depends on ---------------------------------------------------------------------------------------


def test_a_run_is_the_same_alone_and_in_a_family(tmp_path: Path) -> None:
    """The family in processes, the run alone in this one, in a suite that differs in its name and its other runs."""
    listener = Recorder()
    train_pocket(TINY, tmp_path / "family", listener)
    assert {str(run) for run in listener.ended} == {f"{m.name} seed {s}" for m in TINY.models for s in (0, 1)}
    assert PocketFolder(tmp_path / "family").spec() == TINY
    alone = with_values(TINY, name="alone", models=(LARGE,), seeds=1)
    train_here(alone, LARGE, 0, tmp_path / "alone")
    assert_equal_runs(run_folder(tmp_path / "family", LARGE, 0), run_folder(tmp_path / "alone", LARGE, 0))

    # What is finished is not trained again, not even looked at; another suite does not go there.
    shutil.rmtree(tmp_path / "family" / "small")
    train_pocket(TINY, tmp_path / "family", Recorder())
    assert not (tmp_path / "family" / "small").exists()
    with pytest.raises(SaltusError, match=r"does not describe the pocket suite [0-9a-f]{10} .*or move .*family away"):
        train_pocket(with_values(TINY, steps=71), tmp_path / "family", Recorder())


class Recorder:
    """Notes what it is told of a suite."""

    def __init__(self) -> None:
        self.ended: list[Run] = []

    def started(self, run: Run, step: int) -> None: ...

    def advanced(self, run: Run, step: int, loss: float) -> None: ...

    def finished(self, run: Run) -> None:
        self.ended.append(run)


def test_seeds_share_their_data_across_sizes_and_nothing_else() -> None:
    seen: dict[tuple[str, int], list[np.ndarray]] = {}

    class Spy:
        def __init__(self, key: tuple[str, int]) -> None:
            self._key = key

        def draw(self, generator: np.random.Generator, sequences: int, length: int) -> np.ndarray:
            tokens = PeriodicCorpus(12).draw(generator, sequences, length)
            seen.setdefault(self._key, []).append(tokens)
            return tokens

    first = {}
    for model in TINY.models:
        for seed in range(2):
            run = PocketRun(TINY, model, seed, Spy((model.name, seed)))
            first[model.name, seed] = run.model.lm_head.weight.detach().flatten()[:96].numpy().copy()
            run.advance(40)
    for seed in range(2):
        assert_array_equal(seen["small", seed], seen["large", seed])
    assert len(seen["small", 0]) == 2
    blocks = [block.tobytes() for seed in range(2) for block in seen["small", seed]]
    assert len(set(blocks)) == 4
    assert abs(np.corrcoef(list(first.values())) - np.eye(4)).max() < 0.5  # of 96 normal numbers each


def test_longest_runs_come_first() -> None:
    assert list_jobs(TINY) == [(LARGE, 0), (LARGE, 1), (SMALL, 0), (SMALL, 1)]


def test_a_share_of_the_head_that_cannot_turn_is_refused(tmp_path: Path) -> None:
    for rotary in (0.3, 0.25, 0.01):
        model = PocketModelSpec(name="odd", layers=1, d_model=8, heads=2, rotary=rotary)
        with pytest.raises(SaltusError, match=r"model odd: rotary is .* choose a share that gives an even number"):
            train_pocket(with_values(TINY, models=(model,)), tmp_path, Recorder())
    assert list(tmp_path.iterdir()) == []


# --- ends --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run to its end. Not to be written to."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("unbroken")
    log = train_here(TINY, LARGE, 1, root)
    assert log.begins == [0]
    assert list(log.losses) == [1, 2, 4, 8, 16, 30, 50, 60, 70]
    return root


def test_resumption_changes_nothing(unbroken: Path, tmp_path: Path) -> None:
    for stop in (1, 35, 65):
        with pytest.raises(Interruption):
            train_here(TINY, LARGE, 1, tmp_path, stop)
    log = train_here(TINY, LARGE, 1, tmp_path)
    assert log.begins == [60]
    assert_equal_runs(run_folder(tmp_path, LARGE, 1), run_folder(unbroken, LARGE, 1))
    assert train_here(TINY, LARGE, 1, tmp_path).losses == {}


@pytest.mark.parametrize("moment", ["step30", "30", "moments"])
def test_a_kill_between_moments_and_checkpoint(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The write of the checkpoint, that of its moments, or the removal of old moments does not happen."""
    from saltus.lm.pocket import folder

    names = {"step30": "write_folder", "30": "write_folder", "moments": "remove"}
    original = getattr(folder, names[moment])

    def interrupt(path: Path, *arguments: object) -> None:
        if path.name == moment and (moment != "moments" or path.exists()):
            raise Interruption
        original(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(folder, names[moment], interrupt)
        with pytest.raises(Interruption):
            train_here(TINY, LARGE, 1, tmp_path)
    log = train_here(TINY, LARGE, 1, tmp_path)
    assert log.begins == [70 if moment == "moments" else 16]
    shutil.rmtree(tmp_path / "large" / "seed1" / "moments", ignore_errors=True)  # as when the suite finishes
    assert_equal_runs(run_folder(tmp_path, LARGE, 1), run_folder(unbroken, LARGE, 1))


def break_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [break_bit, Path.unlink])
@pytest.mark.parametrize("name", ["step60/model.safetensors", "moments/60/moments.safetensors"])
def test_damage_to_the_newest_checkpoint_costs_that_one_alone(
    unbroken: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    with pytest.raises(Interruption):
        train_here(TINY, LARGE, 1, tmp_path / "suite", 65)
    folder = run_folder(tmp_path / "suite", LARGE, 1)
    damage(folder.path / name)
    remedy = rf"{folder.path / name} .*; move {folder.checkpoint(60)} away {AGAIN}: the run resumes from step 30"
    with pytest.raises(SaltusError, match=remedy):
        train_here(TINY, LARGE, 1, tmp_path / "suite")
    folder.checkpoint(60).rename(tmp_path / "away")
    assert train_here(TINY, LARGE, 1, tmp_path / "suite").begins == [30]
    assert_equal_runs(folder, run_folder(unbroken, LARGE, 1))


@pytest.mark.parametrize("damage", [break_bit, Path.unlink])
def test_damage_further_back_costs_the_run_and_no_other(
    unbroken: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with pytest.raises(Interruption):
        train_here(TINY, LARGE, 1, tmp_path / "suite", 65)
    folder = run_folder(tmp_path / "suite", LARGE, 1)
    damage(folder.checkpoint(8) / "config.json")
    remedy = rf"step8/config.json .*; move {folder.path} away {AGAIN}: this run starts anew, and the others are kept"
    with pytest.raises(SaltusError, match=remedy):
        train_here(TINY, LARGE, 1, tmp_path / "suite")
    shutil.rmtree(folder.checkpoint(8))
    with pytest.raises(SaltusError, match=rf"step8 is gone; move {folder.path} away"):
        train_here(TINY, LARGE, 1, tmp_path / "suite")
    folder.path.rename(tmp_path / "away")
    assert train_here(TINY, LARGE, 1, tmp_path / "suite").begins == [0]
    assert_equal_runs(folder, run_folder(unbroken, LARGE, 1))


def test_corpus_and_description_are_written_anew(unbroken: Path, tmp_path: Path) -> None:
    root = tmp_path / TINY.identify(TINY.name)
    shutil.copytree(unbroken, root)
    expected = (root / "_corpus" / "tokenizer.json").read_bytes()
    (root / "_corpus" / "tokenizer.json").write_text("{}")
    remedy = rf"tokenizer.json differs from what was written; delete {root / '_corpus'} {AGAIN}: it is made anew"
    with pytest.raises(SaltusError, match=remedy):
        train_here(TINY, LARGE, 1, root)
    shutil.rmtree(root / "_corpus")
    for content, what in (
        ("{}", "describes no pocket suite"),
        ((root / "suite.json").read_text().replace('"steps": 70', '"steps": 60'), "was edited"),
    ):
        (root / "suite.json").write_text(content)
        with pytest.raises(SaltusError, match=rf"suite.json {what}.*; delete it {AGAIN}: it is written anew"):
            train_here(TINY, LARGE, 1, root)
        (root / "suite.json").unlink()
        assert train_here(TINY, LARGE, 1, root).begins == [70]  # nothing is trained again
    assert (root / "_corpus" / "tokenizer.json").read_bytes() == expected
    assert_equal_runs(run_folder(root, LARGE, 1), run_folder(unbroken, LARGE, 1))


def test_a_suite_of_version_0_1_is_gone_on_with(unbroken: Path, tmp_path: Path) -> None:
    """Its name has the hash of the whole description."""
    values = {
        "name": "tiny",
        "models": [
            {"name": "small", "layers": 1, "d_model": 8, "heads": 2, "rotary": 1.0},
            {"name": "large", "layers": 2, "d_model": 16, "heads": 2, "rotary": 0.5},
        ],
        "seeds": 2,
        "corpus": {"kind": "periodic", "vocabulary": 12},
        "length": 8,
        "batch": 4,
        "steps": 70,
        "every": 30,
        "learning_rate": 0.002,
        "warmup": 20,
        "weight_decay": 0.01,
        "master_seed": 0,
    }
    digits = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]
    root = tmp_path / f"tiny-{digits}"
    shutil.copytree(unbroken, root)
    (root / "suite.json").write_text(json.dumps(values, indent=2) + "\n")
    found = PocketFolder.find(tmp_path, TINY, TINY.name)
    assert (found.path, found.spec()) == (root, TINY)
    assert train_here(TINY, LARGE, 1, found.path).begins == [70]


SCRIPT = """
import sys
from pathlib import Path

from rich.console import Console

from saltus.lm.pocket.train import train_pocket
from saltus.specs.pocket import PocketSpec
from saltus.report.terminal.pocket import PocketView

if __name__ == "__main__":
    spec = PocketSpec.model_validate_json(sys.argv[1])
    with PocketView(spec, Console()) as view:
        train_pocket(spec, Path(sys.argv[2]), view)
"""


class Ender:
    """Listens to a suite and, once a run is at a chosen step, does something to it."""

    def __init__(self, step: int, end: Callable[[], None]) -> None:
        self.begins: list[int] = []
        self._step, self._end = step, end

    def started(self, run: Run, step: int) -> None:
        self.begins.append(step)

    def advanced(self, run: Run, step: int, loss: float) -> None:
        if step == self._step:
            self._end()

    def finished(self, run: Run) -> None: ...


def kill_worker() -> None:
    """As the system does for a lack of memory."""
    (worker,) = multiprocessing.active_children()
    worker.kill()


def interrupt() -> None:
    """As Ctrl-C does."""
    raise KeyboardInterrupt


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def list_workers() -> set[int]:
    """The processes that train, whoever started them."""
    found: set[int] = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state = status.read_text().rpartition(")")[2].split()[0]
            command = (status.parent / "cmdline").read_text()
        except OSError:  # it ended meanwhile
            continue
        if state != "Z" and "spawn_main" in command:
            found.add(int(status.parent.name))
    return found


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes that train through /proc (Linux)")
def test_suite_that_is_ended_in_every_way_is_the_suite_that_was_not(tmp_path: Path) -> None:
    """One suite, ended three times; one test, because each start takes seconds."""
    spec = with_values(TINY, models=(SMALL,), seeds=1, steps=600, every=20)
    root = tmp_path / "broken"
    script, output = tmp_path / "script.py", tmp_path / "output"
    script.write_text(SCRIPT)

    # The parent is killed: the process that trains ends by itself.
    before = list_workers()
    with output.open("w") as stream:
        parent = subprocess.Popen(
            [sys.executable, str(script), spec.model_dump_json(), str(root)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
    try:
        wait_until(lambda: (root / "small/seed0/step40").exists() or parent.poll() is not None)
        assert parent.poll() is None, output.read_text()
        parent.kill()
        assert parent.wait(PATIENCE) == -signal.SIGKILL
        wait_until(lambda: list_workers() <= before)
    finally:
        if parent.poll() is None:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()
    assert "Traceback" not in output.read_text()
    assert not (root / "finished.json").exists()

    # The process that trains is killed: its run is named.
    listener = Ender(320, kill_worker)
    with pytest.raises(
        SaltusError, match=r"that trained small seed 0 ended with code -9 .* run the same command again"
    ):
        train_pocket(spec, root, listener)
    assert listener.begins[0] >= 40
    assert list(root.rglob("*.partial")) == []

    # Ctrl-C: nothing goes on, nothing half written is left.
    listener = Ender(460, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_pocket(spec, root, listener)
    assert listener.begins[0] in (300, 320, 340)
    assert multiprocessing.active_children() == []
    assert list(root.rglob("*.partial")) == []
    assert not (root / "finished.json").exists()

    # The last part in this process, and an unbroken run to compare with.
    assert train_here(spec, SMALL, 0, root).begins[0] >= 440
    train_here(spec, SMALL, 0, tmp_path / "unbroken")
    assert_equal_runs(run_folder(root, SMALL, 0), run_folder(tmp_path / "unbroken", SMALL, 0))


# --- what it is for ----------------------------------------------------------------------------------------------


def test_repetition_in_context_emerges(tmp_path: Path) -> None:
    """A small size of the demo's on fewer words: chance at first, most of them later."""
    corpus = PeriodicCorpusSpec(vocabulary=10)
    model = PocketModelSpec(name="w32", layers=2, d_model=32, heads=4)
    spec = PocketSpec(
        name="e", models=(model,), corpus=corpus, length=16, batch=32, steps=500, every=250, learning_rate=6e-3
    )
    run = PocketRun(spec, model, 0, PeriodicCorpus(10))
    strings = np.random.default_rng(0).integers(0, 10, (200, 6))
    prompts = torch.from_numpy(np.tile(strings, 2))

    def measure() -> float:
        """Share of prompts whose last token, the second time, has the highest probability."""
        with torch.no_grad():
            greedy = run.model(prompts[:, :-1]).logits[:, -1].argmax(-1)
        return float((greedy == prompts[:, -1]).float().mean())

    assert measure() < 0.25
    run.advance(500)
    assert measure() > 0.75


def test_presets_can_be_trained(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("text")
    for spec in (DEMO_POCKET, choose_pocket("periodic"), choose_pocket("stdlib", text)):
        for model in spec.models:
            build_config(spec, model)
    assert len(DEMO_POCKET.models) * DEMO_POCKET.seeds == 12
    assert choose_pocket("periodic") == PERIODIC
    assert choose_pocket("periodic", seeds=2, steps=7) == with_values(PERIODIC, seeds=2, steps=7)
    assert choose_pocket("periodic", text).corpus == describe_text(text, 1024)
    with pytest.raises(SaltusError, match="corpus: 'wikipedia' was given; allowed are"):
        choose_pocket("wikipedia")
    with pytest.raises(SaltusError, match=r"PocketSpec.seeds: 0 was given"):
        choose_pocket("periodic", seeds=0)


def test_view_says_how_far_the_suite_is(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run("small", "1")
    with PocketView(with_values(TINY, models=(SMALL,), seeds=2, steps=100), Console(width=80)) as view:
        view.started(Run("small", "0"), 100)
        view.finished(Run("small", "0"))
        view.started(run, 20)
        for step in range(21, 101):
            view.advanced(run, step, 2.5)
        view.finished(run)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny: preparing 2 runs"
    assert "tiny: small seed 1 resumed at step 20" in lines
    assert lines[1] == "tiny: 0 of 2 runs, 50% of the steps; small seed 0 at step 100"
    assert lines[-1] == "tiny: 1 of 2 runs, 100% of the steps; small seed 1 at step 100, loss 2.500"
    assert len(lines) < 16
