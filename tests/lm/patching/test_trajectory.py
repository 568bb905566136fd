"""The trajectory is an extra: bounded, of what is at hand, and never the reason that a patch is lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.lm.tiny_architectures import SIZES, TOKENIZER, make, make_neox, save
from transformers import Gemma2Config, Gemma2ForCausalLM

from saltus import api
from saltus.errors import SaltusError
from saltus.lm.capabilities.build import make_prompts
from saltus.lm.patching.folder import PatchFolder
from saltus.lm.patching.trajectory import AROUND, choose_neighbours
from saltus.lm.scanning.probe import probe
from saltus.lm.suites.base import Run
from saltus.lm.suites.build import open_suite
from saltus.specs.capabilities import RepetitionSpec
from saltus.specs.checkpoints import PatchSpec

QUIET = Console(quiet=True)
REPETITION = RepetitionSpec(prompts=4, tokens=4)
PYTHIA = [0, *(2**power for power in range(10)), *range(1000, 144_000, 1000)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    root = tmp_path / "suite"
    for step in (0, 50, 100, 150):
        save(make_neox(step), root / "a" / "0" / f"step{step}")
    return root


def describe(root: Path, **changes: Any) -> PatchSpec:
    values: dict[str, Any] = {"recipient": 0, "donor": 100, "capability": REPETITION, "most_heads": 1, **changes}
    return PatchSpec(suite=f"folder:{root}", size="a", **values)


def patch(root: Path, console: Console = QUIET, **arguments: Any) -> PatchFolder:
    return api.patch(describe(root), out=root.parent / "runs", console=console, **arguments)


# --- which checkpoints -------------------------------------------------------------------------------------------


def test_neighbours_are_some_on_each_side_and_the_pair_with_what_is_between() -> None:
    assert choose_neighbours(PYTHIA, 16, 64) == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000, 3000]
    assert choose_neighbours(PYTHIA, 1000, 1000)[:7] == [16, 32, 64, 128, 256, 512, 1000]


def test_a_wide_pair_is_followed_at_a_few_checkpoints_evenly_between() -> None:
    chosen = choose_neighbours(PYTHIA, 0, 143_000)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 143_000, 2 * AROUND)
    assert np.ptp(np.diff([PYTHIA.index(step) for step in chosen])) <= 1


# --- what they say -----------------------------------------------------------------------------------------------


def test_probabilities_are_those_of_a_probe(root: Path) -> None:
    rows = patch(root).records().trajectory.to_pylist()
    prompts = make_prompts(REPETITION, TOKENIZER, 0)
    assert sorted({row["step"] for row in rows}) == [0, 50, 100, 150]
    for step in (0, 50, 100, 150):
        expected = probe(make_neox(step), prompts, 8).probability
        np.testing.assert_allclose([row["probability"] for row in rows if row["step"] == step], expected, rtol=1e-5)


def test_on_request_there_is_none(root: Path) -> None:
    folder = patch(root, trajectory=False)
    assert (folder.finished, folder.has_trajectory, len(folder.records().trajectory)) == (True, False, 0)


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_checkpoints_that_are_not_usable_are_passed_over(root: Path) -> None:
    (root / "a/0/step50/model.safetensors").write_bytes(b"cut")
    (root / "a/0/step150/tokenizer.json").write_text("{")
    assert sorted(set(patch(root).records().trajectory["step"].to_pylist())) == [0, 100]


class Elsewhere:
    """A suite of which two checkpoints are at hand, and that has no network for the others."""

    def __init__(self, root: Path) -> None:
        self._suite = open_suite(f"folder:{root}")
        self.name = self._suite.name

    def runs(self) -> list[Run]:
        return [Run("a", "0")]

    def steps(self, run: Run) -> list[int]:
        return [0, 50, 100, 150]

    def locate(self, run: Run, step: int) -> Path | None:
        return None if step in (50, 150) else self._suite.fetch(run, step)

    def fetch(self, run: Run, step: int) -> Path:
        if step in (50, 150):
            raise SaltusError("there is no network")
        return self._suite.fetch(run, step)


def test_what_is_not_cached_is_not_fetched(root: Path) -> None:
    records = patch(root, suite=Elsewhere(root)).records()
    assert len(records.effects) > 0
    assert sorted(set(records.trajectory["step"].to_pylist())) == [0, 100]


def test_an_error_on_the_way_is_said_and_costs_the_rest_of_the_trajectory_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from saltus.lm.patching import trajectory

    def follow(*_: object) -> Iterator[tuple[int, np.ndarray]]:
        yield 0, np.full(4, 0.5)
        raise SaltusError("a single sequence does not fit into memory")

    monkeypatch.setattr(trajectory, "follow_target", follow)
    folder = patch(root, Console(width=200))
    assert "the trajectory ends early (a single sequence does not fit into memory)" in capsys.readouterr().out
    assert (folder.finished, folder.records().trajectory["step"].to_pylist()) == (True, [0] * 4)


def test_a_patch_that_was_killed_in_its_trajectory_is_not_measured_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saltus.lm.patching import patch as module
    from saltus.lm.patching import trajectory

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(trajectory, "follow_target", kill)
        with pytest.raises(KeyboardInterrupt):
            patch(root)
    [folder] = PatchFolder.list(root.parent / "runs")
    assert (folder.finished, folder.gathered) == (False, True)
    before = folder.records().effects
    monkeypatch.setattr(module, "patch_heads", kill)
    records = patch(root).records()
    assert (folder.finished, records.effects.equals(before), len(records.trajectory)) == (True, True, 16)


# --- low precision -----------------------------------------------------------------------------------------------


def test_a_donor_that_is_the_recipient_changes_nothing_in_low_precision(tmp_path: Path) -> None:
    """Of Gemma 2, whose logits are capped: effects of .37 nats were seen where the cap was left out."""
    sizes: dict[str, Any] = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 8}
    config = Gemma2Config(**sizes, final_logit_softcapping=30.0)
    root = tmp_path / "suite"
    save(make(lambda: Gemma2ForCausalLM(config), gain=18.0), root / "a" / "0" / "step0")
    spec = describe(root, donor=0, precision="bfloat16")
    records = api.patch(spec, out=tmp_path / "runs", trajectory=False, console=QUIET).records()
    own = np.array(records.prompts["recipient"].to_pylist())
    rows = records.effects.to_pylist()
    for kind in ("patch", "self"):
        changes = [np.log(row["probability"] / own[row["prompt"]]) for row in rows if row["kind"] == kind]
        assert np.abs(changes).max() < 0.02, kind
    shuffled = [np.log(row["probability"] / own[row["prompt"]]) for row in rows if row["kind"] == "shuffled"]
    assert np.abs(shuffled).max() > 0.1
