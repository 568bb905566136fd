"""Every fault that is planted in a small suite is found where it was planted, and a healthy suite has none."""

import json
import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from saltus.errors import SaltusError
from saltus.lm.audit.audit import AuditReport, audit_suite, faulty_steps, read_audit
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite
from saltus.lm.suites.folder import FolderSuite

STEPS = (0, 1, 2, 4, 8, 16, 32, 50, 60, 70, 80, 90, 100)
RUNS = [Run("tiny", "0"), Run("tiny", "1")]

Found = set[tuple[str, int | None, str, int | None]]
"""Seed, step, kind and the other step."""


class Listener:
    def __init__(self) -> None:
        self.steps: list[tuple[str, int, str | None]] = []

    def examined(self, run: Run, step: int, reason: str | None) -> None:
        self.steps.append((run.seed, step, reason))


def train(root: Path, seed: int) -> None:
    """A run of 100 steps on strings that repeat; the warm-up begins at a rate of 0, so that step 1 is step 0."""
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        vocab_size=32,
        max_position_embeddings=32,
    )
    model = GPTNeoXForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            folder = root / "tiny" / f"seed{seed}" / f"step{step}"
            folder.mkdir(parents=True)
            weights = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
            save_file(weights, folder / "model.safetensors")
            config.save_pretrained(folder)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, step / 20)
        half = torch.randint(0, 32, (8, 8))
        tokens = torch.cat([half, half], dim=1)
        logits = model(tokens).logits[:, :-1]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to: copy it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("healthy")
    with torch.random.fork_rng():
        for seed in (0, 1):
            train(root, seed)
    torch.set_num_threads(threads)
    return root


@pytest.fixture
def root(healthy: Path, tmp_path: Path) -> Path:
    return shutil.copytree(healthy, tmp_path / "suite")


def locate(root: Path, step: int, seed: int = 0) -> Path:
    return root / "tiny" / f"seed{seed}" / f"step{step}"


def replace(root: Path, step: int, by: int, seed: int = 0, by_seed: int = 0) -> None:
    """Put the files of another checkpoint in the place of one."""
    source = locate(root, by, by_seed) / "model.safetensors"
    shutil.copy(source, locate(root, step, seed) / "model.safetensors")


def change(root: Path, step: int, edit: Callable[[dict[str, NDArray[np.float32]]], object], seed: int = 0) -> None:
    path = locate(root, step, seed) / "model.safetensors"
    weights = {name: weight.copy() for name, weight in load_file(path).items()}
    edit(weights)
    save_file(weights, path)


def splice(root: Path, step: int) -> None:
    """Put weights of the other run into step `step` of seed 0, changed a little, so that they are not the same."""
    replace(root, step, step, by_seed=1)
    change(root, step, lambda weights: [np.multiply(w, 1.0001, out=w) for w in weights.values()])


def configure(root: Path, step: int, seed: int = 0, **values: object) -> None:
    path = locate(root, step, seed) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def audit(root: Path, folder: Path, steps: Sequence[int] | None = None) -> AuditReport:
    return audit_suite(FolderSuite(root), RUNS, folder, Listener(), steps)


def list_found(report: AuditReport, severity: str = "fault") -> Found:
    rows = report.findings.to_pylist()
    return {(row["seed"], row["step"], row["kind"], row["other_step"]) for row in rows if row["severity"] == severity}


def test_a_healthy_suite_has_no_fault(healthy: Path, tmp_path: Path) -> None:
    report = audit(healthy, tmp_path / "audit")
    assert list_found(report) == set()
    assert list_found(report, "note") == {("0", 1, "identical", 0), ("1", 1, "identical", 0)}
    assert faulty_steps(report, RUNS[0]) == {}
    table = report.checkpoints.to_pylist()
    assert [(row["seed"], row["step"]) for row in table] == [(s, step) for s in ("0", "1") for step in STEPS]


@pytest.mark.parametrize("seed", [0, 1])
def test_distances_are_those_of_the_weights(healthy: Path, tmp_path: Path, seed: int) -> None:
    def flatten(step: int) -> NDArray[np.float64]:
        weights = load_file(locate(healthy, step, seed) / "model.safetensors")
        return np.concatenate([weights[name].ravel() for name in sorted(weights) if weights[name].ndim > 1])

    rows = [row for row in audit(healthy, tmp_path / "audit").checkpoints.to_pylist() if row["seed"] == str(seed)]
    first = flatten(0)
    assert {row["parameters"] for row in rows} == {len(first)}
    for before, row in pairwise(rows):
        here = flatten(row["step"])
        assert row["norm"] == pytest.approx(np.linalg.norm(here), rel=1e-5)
        # four standard deviations of the sketch
        assert row["distance"] == pytest.approx(np.linalg.norm(here - flatten(before["step"])), rel=0.045)
        cosine = first @ here / np.linalg.norm(first) / np.linalg.norm(here)
        assert row["cosine"] == pytest.approx(cosine, abs=0.06)


def plant_missing(root: Path) -> Found:
    (locate(root, 60) / "model.safetensors").unlink()
    return {("0", 60, "missing", None)}


def plant_truncated(root: Path) -> Found:
    path = locate(root, 60) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    return {("0", 60, "missing", None)}


def plant_unreadable_configuration(root: Path) -> Found:
    (locate(root, 60) / "config.json").write_text("{")
    return {("0", 60, "missing", None)}


def plant_identical(root: Path) -> Found:
    replace(root, 70, by=8)
    return {("0", 70, "identical", 8), ("0", 8, "identical", 70)}


def plant_initial_weights_later(root: Path) -> Found:
    replace(root, 32, by=0)
    return {("0", 0, "identical", 1), ("0", 1, "identical", 0), ("0", 32, "identical", 0)}


def plant_initial_weights_for_long(root: Path) -> Found:
    """As half precision does while the rate is small: only steps 0 and 1 may have them."""
    replace(root, 2, by=0)
    return {("0", 2, "identical", 0)}


def plant_final_weights_earlier(root: Path) -> Found:
    replace(root, 60, by=100)
    replace(root, 70, by=100)
    return {("0", 60, "identical", 70), ("0", 70, "identical", 60), ("0", 100, "identical", 60)}


def plant_identical_across_runs(root: Path) -> Found:
    replace(root, 80, by=90, by_seed=1)
    return {("0", 80, "identical", 90), ("1", 90, "identical", 80)}


def plant_another_start(root: Path) -> Found:
    """As the runs of Pythia-160m whose step 0 is not theirs."""
    for step in (0, 1):
        replace(root, step, by=0, by_seed=1)
    return {("0", 0, "start", 2), ("0", 1, "start", 2)}


def plant_exchanged_starts(root: Path) -> Found:
    for step in (0, 1):
        one, other = (locate(root, step, seed) / "model.safetensors" for seed in (0, 1))
        kept = one.read_bytes()
        shutil.copy(other, one)
        other.write_bytes(kept)
    return {(seed, step, "start", 0) for seed in ("0", "1") for step in (0, 1)}


def plant_stray(root: Path) -> Found:
    splice(root, 50)
    return {("0", 50, "stray", None)}


def plant_half_stray(root: Path) -> Found:
    """One matrix alone is not what it was."""

    def edit(weights: dict[str, NDArray[np.float32]]) -> None:
        name = max(weights, key=lambda name: float(np.linalg.norm(weights[name]) * (weights[name].ndim > 1)))
        weights[name] = weights[name][::-1].copy()

    change(root, 90, edit)
    return {("0", 90, "stray", None)}


def plant_jump(root: Path) -> Found:
    for step in STEPS:
        if step >= 60:
            splice(root, step)
    return {("0", 60, "jump", 50)}


def plant_jump_at_the_end(root: Path) -> Found:
    splice(root, 100)
    return {("0", 100, "jump", 90)}


def plant_excursion(root: Path) -> Found:
    """Two neighbours of another run: away and back."""
    splice(root, 60)
    splice(root, 70)
    return {("0", 60, "jump", 50), ("0", 80, "jump", 70)}


def plant_configuration(root: Path) -> Found:
    configure(root, 32, rotary_pct=0.5)
    configure(root, 50, transformers_version="1.0", torch_dtype="float16", use_cache=False)  # these say nothing
    return {("0", 32, "configuration", 0)}


def plant_configuration_of_a_run(root: Path) -> Found:
    for step in STEPS:
        configure(root, step, seed=1, rotary_pct=0.5)
    return {("1", None, "configuration", 0)}


def plant_tensor(root: Path) -> Found:
    def edit(weights: dict[str, NDArray[np.float32]]) -> None:
        weights["gpt_neox.other.weight"] = weights.pop("gpt_neox.embed_in.weight")

    change(root, 32, edit)
    return {("0", 32, "configuration", 0)}


def plant_not_finite(root: Path) -> Found:
    change(root, 16, lambda weights: weights["gpt_neox.embed_in.weight"].__setitem__((0, 0), np.nan))
    return {("0", 16, "not_finite", None)}


PLANTS: list[Callable[[Path], Found]] = [value for name, value in list(globals().items()) if name.startswith("plant_")]


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_is_found_there_and_nowhere_else(
    root: Path, tmp_path: Path, plant: Callable[[Path], Found]
) -> None:
    planted = plant(root)
    report = audit(root, tmp_path / "audit")
    assert list_found(report) == planted
    for run in RUNS:
        unusable = {step for seed, step, kind, _ in planted if seed == run.seed and kind != "jump"} - {None}
        assert faulty_steps(report, run).keys() == unusable
    assert read_audit(report.path).findings.equals(report.findings)


def test_the_run_that_a_run_continues_is_named(root: Path, tmp_path: Path) -> None:
    plant_exchanged_starts(root)
    rows = [row for row in audit(root, tmp_path / "audit").findings.to_pylist() if row["kind"] == "start"]
    assert {(row["seed"], row["other_seed"]) for row in rows} == {("0", "1"), ("1", "0")}
    assert all("but from step 0 of tiny seed" in row["detail"] for row in rows)


def test_a_late_first_step_is_not_judged(root: Path, tmp_path: Path) -> None:
    """After long training nothing need be left of the start."""
    plant_another_start(root)
    assert list_found(audit(root, tmp_path / "audit", steps=(0, 32, 70, 100))) == set()


class Interrupted(FolderSuite):
    """A suite that is interrupted after some checkpoints, and counts them."""

    def __init__(self, path: Path, after: int) -> None:
        super().__init__(path)
        self.fetched: list[tuple[str, int]] = []
        self._after = after

    def fetch(self, run: Run, step: int) -> Path:
        if len(self.fetched) == self._after:
            raise KeyboardInterrupt
        self.fetched.append((run.seed, step))
        return super().fetch(run, step)


def test_a_killed_audit_resumes(root: Path, tmp_path: Path) -> None:
    plant_missing(root)
    everything = [(run.seed, step) for run in RUNS for step in STEPS]
    first = Interrupted(root, 15)
    with pytest.raises(KeyboardInterrupt):
        audit_suite(first, RUNS, tmp_path / "audit", Listener())
    with pytest.raises(SaltusError, match="holds no finished audit"):
        read_audit(tmp_path / "audit")
    second, listener = Interrupted(root, 99), Listener()
    report = audit_suite(second, RUNS, tmp_path / "audit", listener)
    assert first.fetched == everything[:15]
    assert second.fetched == [("0", 60), *everything[15:]]  # what was missing may be there by now
    assert [(seed, step) for seed, step, _ in listener.steps] == everything
    whole = audit(root, tmp_path / "whole")
    assert report.findings.equals(whole.findings)
    assert report.checkpoints.equals(whole.checkpoints)
    third = Interrupted(root, 99)
    audit_suite(third, RUNS, tmp_path / "audit", Listener())
    assert third.fetched == [("0", 60)]


def test_what_a_checkpoint_is_does_not_depend_on_its_shards(root: Path, tmp_path: Path) -> None:
    folder = locate(root, 70)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    save_file({name: weights[name] for name in names[::2]}, folder / "model-00001-of-00002.safetensors")
    save_file({name: weights[name] for name in names[1::2]}, folder / "model-00002-of-00002.safetensors")
    one = audit(root, tmp_path / "one").checkpoints
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(locate(root, 60) / "config.json", folder)
    save_file(weights, folder / "model.safetensors")
    assert audit(root, tmp_path / "other").checkpoints.equals(one)


def test_an_audit_belongs_to_one_suite(root: Path, tmp_path: Path) -> None:
    audit(root, tmp_path / "audit", steps=(0, 1))
    moved = root.rename(tmp_path / "another")
    with pytest.raises(
        SaltusError, match=r"is an audit of folder:.*suite, not of folder:.*another; name another folder"
    ):
        audit(moved, tmp_path / "audit")


def test_what_others_found_is_told(tmp_path: Path) -> None:
    class Poly:
        name = "polypythias"

        def runs(self) -> list[Run]:
            return [Run("410m", "9"), Run("410m", "1")]

        def steps(self, run: Run) -> list[int]:
            return [0]

        def fetch(self, run: Run, step: int) -> Path:
            raise MissingCheckpoint("gone")

    suite: Suite = Poly()
    report = audit_suite(suite, suite.runs(), tmp_path / "audit", Listener())
    assert list_found(report, "note") == {("9", 40_000, "known", None)}
    assert list_found(report) == {("9", 0, "missing", None), ("1", 0, "missing", None)}
    assert faulty_steps(report, Run("410m", "1")) == {0: "audit: gone"}
