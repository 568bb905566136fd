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
from saltus.lm.audit.audit import audit_suite, faulty_steps
from saltus.lm.audit.folder import AuditFolder, AuditRecords
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite
from saltus.lm.suites.folder import FolderSuite
from saltus.specs.checkpoints import AuditSpec
from saltus.storage.folder import AGAIN

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


def mix(root: Path, step: int, by: int, by_seed: int = 0) -> None:
    """Put some tensors of another checkpoint in the place of those of step `step` of seed 0, as a wrong shard does."""
    other = load_file(locate(root, by, by_seed) / "model.safetensors")
    shard = [name for name in sorted(other) if "embed_in" in name or "layers.0" in name]
    change(root, step, lambda weights: weights.update({name: other[name] for name in shard}))


def splice(root: Path, step: int) -> None:
    """Put weights of the other run into step `step` of seed 0, changed a little, so that they are not the same."""
    replace(root, step, step, by_seed=1)
    change(root, step, lambda weights: [np.multiply(w, 1.0001, out=w) for w in weights.values()])


def configure(root: Path, step: int, seed: int = 0, **values: object) -> None:
    path = locate(root, step, seed) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def audit_into(path: Path, suite: Suite, listener: Listener | None = None) -> AuditRecords:
    """All runs and steps of a suite, in the folder at `path`."""
    folder = AuditFolder(path)
    with folder.writing(AuditSpec(suite=suite.name), again=True):
        audit_suite(suite, suite.runs(), folder, listener or Listener())
        folder.finish({})
    return folder.records()


def audit(root: Path, path: Path, steps: Sequence[int] | None = None) -> AuditRecords:
    """The runs of a suite folder, all their steps or some of them."""
    suite, folder = FolderSuite(root), AuditFolder(path)
    with folder.writing(AuditSpec(suite=suite.name), again=True):
        audit_suite(suite, RUNS, folder, Listener(), steps)
        folder.finish({})
    return folder.records()


def list_found(records: AuditRecords, severity: str = "fault") -> Found:
    rows = records.findings.to_pylist()
    return {(row["seed"], row["step"], row["kind"], row["other_step"]) for row in rows if row["severity"] == severity}


def test_a_healthy_suite_has_no_fault(healthy: Path, tmp_path: Path) -> None:
    records = audit(healthy, tmp_path / "audit")
    assert list_found(records) == set()
    assert list_found(records, "note") == {("0", 1, "identical", 0), ("1", 1, "identical", 0)}
    assert faulty_steps(records, FolderSuite(healthy), RUNS[0]) == {}
    table = records.checkpoints.to_pylist()
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


def plant_shard(root: Path) -> Found:
    """As in pythia's issue 206: the first shard of two steps is that of the last one."""
    for step in (16, 60):
        mix(root, step, by=100)
    return {("0", 16, "mixed", 100), ("0", 60, "mixed", 100)}


def plant_shard_of_neighbours(root: Path) -> Found:
    for step in (60, 70):
        mix(root, step, by=90, by_seed=1)
    return {("0", 60, "mixed", 90), ("0", 70, "mixed", 90)}


def plant_shard_of_another_run(root: Path) -> Found:
    mix(root, 70, by=70, by_seed=1)
    return {("0", 70, "mixed", 70)}


def plant_early_shard_at_the_end(root: Path) -> Found:
    mix(root, 100, by=32)
    return {("0", 100, "mixed", 32)}


def plant_small_matrix(root: Path) -> Found:
    """Too small to be seen in the whole."""
    name = "gpt_neox.layers.1.attention.dense.weight"
    change(root, 80, lambda weights: weights.__setitem__(name, weights[name][::-1].copy()))
    return {("0", 80, "stray", None)}


def plant_another_precision(root: Path) -> Found:
    """The weights of another step, saved in half precision."""
    replace(root, 60, by=90)
    path = locate(root, 60) / "model.safetensors"
    save_file({name: weight.astype(np.float16) for name, weight in load_file(path).items()}, path)
    return {("0", 60, "identical", 90), ("0", 90, "identical", 60)}


def plant_late_weights_under_early_names(root: Path) -> Found:
    """As in pythia's issue 205."""
    for step in (2, 4, 8):
        replace(root, step, by=100)
    return {("0", 2, "identical", 4), *(("0", step, "identical", 2) for step in (4, 8, 100))}


def plant_not_finite_in_a_bias(root: Path) -> Found:
    change(root, 16, lambda weights: weights["gpt_neox.layers.0.attention.dense.bias"].__setitem__(3, np.inf))
    return {("0", 16, "not_finite", None)}


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
    records = audit(root, tmp_path / "audit")
    assert list_found(records) == planted
    for run in RUNS:
        unusable = {s for seed, s, kind, _ in planted if seed == run.seed and kind not in ("jump", "missing")} - {None}
        assert faulty_steps(records, FolderSuite(root), run).keys() == unusable


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
    first, folder = Interrupted(root, 15), AuditFolder(tmp_path / "audit")
    with pytest.raises(KeyboardInterrupt):
        audit_into(folder.path, first)
    assert not folder.finished
    second, listener = Interrupted(root, 99), Listener()
    records = audit_into(folder.path, second, listener)
    assert first.fetched == everything[:15]
    assert second.fetched == [("0", 60), *everything[15:]]  # what was missing may be there by now
    assert [(seed, step) for seed, step, _ in listener.steps] == everything
    whole = audit(root, tmp_path / "whole")
    assert records.findings.equals(whole.findings)
    assert records.checkpoints.equals(whole.checkpoints)
    third = Interrupted(root, 99)
    audit_into(folder.path, third)
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
    other = audit(root, tmp_path / "other").checkpoints
    files = ["bytes", "modified", "content"]
    assert other.drop_columns(files).equals(one.drop_columns(files))


# --- the folder --------------------------------------------------------------------------------------------------


def test_an_audit_belongs_to_one_suite(healthy: Path, tmp_path: Path) -> None:
    suite = FolderSuite(healthy)
    folder = AuditFolder.of(tmp_path, suite.name)
    with folder.writing(AuditSpec(suite=suite.name)):
        audit_suite(suite, RUNS, folder, Listener(), steps=(0, 1))
        folder.finish({})
    assert (AuditFolder.of(tmp_path, suite.name).path, folder.records().suite) == (folder.path, suite.name)
    assert AuditFolder.of(tmp_path, "pythia").path != folder.path
    with pytest.raises(SaltusError, match=r"does not describe the audit [0-9a-f]{10} that was asked for"):
        folder.require(AuditSpec(suite="pythia"))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [cut_short, Path.unlink])
@pytest.mark.parametrize("name", ["records/findings.parquet", "records/checkpoints.parquet", "records/manifest.json"])
def test_damaged_tables_are_made_again_from_the_fingerprints(
    root: Path, tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    """No checkpoint is read for it: they may be gone."""
    plant_stray(root)
    before = audit(root, tmp_path / "audit")
    path = before.path / name
    damage(path)
    with pytest.raises(SaltusError, match=rf"^{path} .*; delete {path.parent} {AGAIN}: it is made anew from the"):
        AuditFolder(before.path).records()
    shutil.rmtree(path.parent)
    unread = Interrupted(root, 0)
    after = audit_into(before.path, unread)
    assert (after.findings.equals(before.findings), after.checkpoints.equals(before.checkpoints)) == (True, True)


def test_a_description_is_written_anew_and_one_that_was_edited_is_said_to_be(root: Path, tmp_path: Path) -> None:
    suite = FolderSuite(root)
    folder = AuditFolder.of(tmp_path, suite.name)
    before = audit_into(folder.path, suite)
    path = folder.path / "audit.json"
    for content, what in (("{", "cannot be read"), ('{"suite": "pythia"}', "was edited")):
        path.write_text(content)
        with pytest.raises(SaltusError, match=rf"^{path} {what}.*; delete it {AGAIN}: it is written anew"):
            folder.records()
        path.unlink()
        after = audit_into(folder.path, Interrupted(root, 0))
        assert after.findings.equals(before.findings)


def test_a_damaged_fingerprint_is_taken_again(root: Path, tmp_path: Path) -> None:
    before = audit(root, tmp_path / "audit")
    path = before.path / "fingerprints" / "tiny" / "1" / "32.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    suite = Interrupted(root, 99)
    after = audit_into(before.path, suite)
    assert suite.fetched == [("1", 32)]
    assert after.checkpoints.equals(before.checkpoints)


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
    records = audit_into(tmp_path / "audit", suite)
    assert list_found(records, "note") == {("9", 40_000, "known", None)}
    assert list_found(records) == {("9", 0, "missing", None), ("1", 0, "missing", None)}
    assert faulty_steps(records, suite, Run("410m", "1")) == {}  # what is gone is asked for again
