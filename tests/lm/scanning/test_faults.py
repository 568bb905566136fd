"""What is wrong with one checkpoint costs that checkpoint; what is mended later is measured later."""

import hashlib
import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.lm.tiny_architectures import SIZES, TOKENIZER, WORDS, edit_weights, make, make_neox, save
from tests.lm.tiny_suite import make_word_tokenizer
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM

from saltus import api
from saltus.errors import SaltusError
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.suites.base import Run, Suite, UnreachableCheckpoint
from saltus.lm.suites.build import open_suite
from saltus.specs.capabilities import BaseCapabilitySpec, RepetitionSpec
from saltus.specs.checkpoints import ScanSpec

QUIET = Console(quiet=True)
REPETITION = RepetitionSpec(prompts=6, tokens=5)
RUN = Run("a", "0")


class Tree:
    """A suite in a folder, and its scans."""

    def __init__(self, root: Path) -> None:
        self.root = root / "suite"
        self.out = root / "runs"

    def at(self, step: int) -> Path:
        return self.root / "a" / "0" / f"step{step}"

    def fill(self, *steps: int) -> None:
        for step in steps:
            save(make_neox(step), self.at(step))

    def scan(
        self, *capabilities: BaseCapabilitySpec, suite: Suite | None = None, console: Console = QUIET
    ) -> ScanFolder:
        spec = ScanSpec(suite=f"folder:{self.root}", capabilities=capabilities or (REPETITION,), strategy="grid")
        return api.scan(spec, suite=suite, out=self.out, console=console)

    def missing(self) -> dict[int, str]:
        [folder] = ScanFolder.list(self.out)
        return {row["step"]: row["reason"] for row in folder.records().missing.to_pylist()}

    def measured(self) -> dict[int, list[float]]:
        """By step the logits of the targets."""
        [folder] = ScanFolder.list(self.out)
        rows = folder.records().probes.to_pylist()
        return {step: [row["logit"] for row in rows if row["step"] == step] for step in {row["step"] for row in rows}}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    torch.set_num_threads(1)
    return Tree(tmp_path)


# --- what is measured --------------------------------------------------------------------------------------------


def test_a_head_of_zeros_has_no_capability(tree: Tree) -> None:
    """All its logits are equal, so that no token is the answer; ranks say that all others are as good."""
    tree.fill(0, 100)
    silent = make_neox(0)
    torch.nn.init.zeros_(silent.get_parameter("lm_head.weight"))
    save(silent, tree.at(0))
    records = tree.scan().records()
    assert {row["rank"] for row in records.probes.to_pylist() if row["step"] == 0} == {63}
    assert [found for found in records.curves.emergences() if found.after < 0 and found.by is not None] == []


def test_the_same_weights_under_wrapped_names_are_the_same(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (0, 100):
        save(make_neox(1), tree.at(step))
    edit_weights(tree.at(100), lambda weights: {f"_orig_mod.{name}": weight for name, weight in weights.items()})
    records = tree.scan(console=Console(width=200)).records()
    measured = tree.measured()
    np.testing.assert_allclose(measured[0], measured[100], rtol=1e-5)
    [note] = records.notes
    assert note.startswith(
        "in 1 of 2 checkpoints 28 tensors have names of a wrapper, such as _orig_mod.embed_out.weight"
    )
    assert records.curves.notes == (note,)
    assert note in capsys.readouterr().out.replace("\n", "")


def test_a_bidirectional_model_is_left_out(tree: Tree) -> None:
    tree.fill(100)
    save(make(lambda: BertForMaskedLM(BertConfig(**SIZES))), tree.at(0))
    tree.scan()
    assert tree.measured().keys() == {100}
    assert "whose tokens see the ones after them" in tree.missing()[0]


# --- one checkpoint never ends a scan ----------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 50])
def test_a_shorter_context(tree: Tree, step: int) -> None:
    tree.fill(0, 50, 100)
    save(make_neox(1, max_position_embeddings=8), tree.at(step))
    tree.scan()
    assert tree.measured().keys() == {0, 50, 100} - {step}
    assert "needs 9 tokens and the model reads at most 8" in tree.missing()[step]


def test_prompts_too_long_for_all_are_refused_at_once(tree: Tree) -> None:
    for step in (0, 50, 100):
        save(make_neox(step, max_position_embeddings=8), tree.at(step))
    with pytest.raises(SaltusError, match="needs 9 tokens and the model reads at most 8"):
        tree.scan()
    [folder] = ScanFolder.list(tree.out)
    assert len(folder.missing(RUN)) == 2


def test_a_model_that_raises(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import GPTNeoXForCausalLM

    tree.fill(0, 100)
    forward = GPTNeoXForCausalLM.forward

    def fail(model: GPTNeoXForCausalLM, *arguments: Any, **named: Any) -> Any:
        if named["input_ids"].shape[1] > 4 and torch.equal(model.get_parameter("gpt_neox.embed_in.weight"), first):
            raise ZeroDivisionError("of a kernel")
        return forward(model, *arguments, **named)

    first = make_neox(0).get_parameter("gpt_neox.embed_in.weight").detach()
    monkeypatch.setattr(GPTNeoXForCausalLM, "forward", fail)
    tree.scan()
    assert tree.measured().keys() == {100}
    assert tree.missing() == {0: "the model cannot be run (ZeroDivisionError: of a kernel)"}


# --- tokenizers --------------------------------------------------------------------------------------------------


def strip_tokenizer(folder: Path) -> None:
    for path in folder.glob("*tok*"):
        path.unlink()


def test_a_tokenizer_that_is_missing_is_named_as_that(tree: Tree) -> None:
    tree.fill(0, 100)
    strip_tokenizer(tree.at(0))
    tree.scan()
    assert tree.measured().keys() == {100}
    assert "holds no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with merges.txt)" in tree.missing()[0]


def test_a_tokenizer_in_the_folder_of_the_run_is_enough(tree: Tree) -> None:
    tree.fill(0, 100)
    expected = tree.scan().records().probes
    shutil.rmtree(tree.out)
    for step in (0, 100):
        strip_tokenizer(tree.at(step))
    TOKENIZER.save_pretrained(tree.at(0).parent)
    assert tree.scan().records().probes["logit"].equals(expected["logit"])


def test_a_later_checkpoint_without_a_tokenizer_is_asked_what_its_run_is(tree: Tree) -> None:
    tree.fill(0, 100)
    strip_tokenizer(tree.at(100))
    tree.scan()
    assert (tree.measured().keys(), tree.missing()) == ({0, 100}, {})


def test_a_tokenizer_that_changed_within_a_run(tree: Tree) -> None:
    tree.fill(0, 50, 100)
    make_word_tokenizer(WORDS[::-1], unknown="w0").save_pretrained(tree.at(50))
    tree.scan()
    assert tree.measured().keys() == {0, 100}
    assert "the tokenizer of a seed 0 makes other prompts than those" in tree.missing()[50]


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="it can be read here")
def test_sentences_alone_ask_for_their_package(tree: Tree) -> None:
    tree.fill(0, 100)
    strip_tokenizer(tree.at(0))
    (tree.at(0) / "tokenizer.model").write_bytes(b"pieces")
    tree.scan()
    assert "as tokenizer.model alone, which the package sentencepiece reads; install it" in tree.missing()[0]


def test_a_damaged_tokenizer(tree: Tree) -> None:
    tree.fill(0, 100)
    (tree.at(0) / "tokenizer.json").write_text("{")
    tree.scan()
    assert "the tokenizer in" in tree.missing()[0]
    assert "cannot be loaded" in tree.missing()[0]


# --- by content, not by path -------------------------------------------------------------------------------------


def spoil(tree: Tree, step: int) -> Callable[[], object]:
    """Cut the weights short; the answer brings them back."""
    path = tree.at(step) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:900])
    return lambda: path.write_bytes(whole)


def test_what_was_measured_is_recorded(tree: Tree) -> None:
    tree.fill(0, 100)
    table = tree.scan().records().checkpoints
    for row in table.to_pylist():
        files = [tree.at(row["step"]) / name for name in ("config.json", "model.safetensors")]
        assert row["bytes"] == sum(path.stat().st_size for path in files)
        assert row["modified"] == sum(path.stat().st_mtime_ns for path in files) % 2**62
        hashes = [f"{path.name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files]
        assert row["sha256"] == hashlib.sha256("".join(hashes).encode()).hexdigest()


def test_a_scan_that_measured_nothing_goes_on_when_the_checkpoints_are_whole(tree: Tree) -> None:
    tree.fill(0, 100)
    mend = [spoil(tree, step) for step in (0, 100)]
    with pytest.raises(SaltusError, match=r"has no measured checkpoint: a seed 0 at step 0 could not be measured"):
        tree.scan()
    for each in mend:
        each()
    tree.scan()
    assert (tree.measured().keys(), tree.missing()) == ({0, 100}, {})


def test_a_finished_scan_goes_on_where_a_checkpoint_was_mended(tree: Tree) -> None:
    tree.fill(0, 50, 100)
    mend = spoil(tree, 50)
    folder = tree.scan()
    assert (tree.measured().keys(), tree.missing().keys()) == ({0, 100}, {50})
    before = folder.summary()
    assert tree.scan().summary() == before  # it is as it was: nothing is loaded
    mend()
    tree.scan()
    assert (tree.measured().keys(), tree.missing()) == ({0, 50, 100}, {})


def test_weights_that_were_replaced_are_measured_again(tree: Tree) -> None:
    tree.fill(0, 100)
    tree.scan()
    before = tree.measured()
    save(make_neox(7), tree.at(100))
    tree.scan()
    after = tree.measured()
    assert before[0] == after[0]
    np.testing.assert_array_less(1e-3, np.abs(np.subtract(before[100], after[100])))


def test_weights_that_are_replaced_while_they_are_measured(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    from saltus.lm.scanning import scan as module

    tree.fill(0, 100)
    probe, done = module.probe, list[int]()

    def replace(*arguments: Any) -> Any:
        if len(done) == 1:
            save(make_neox(7), tree.at(100))
        done.append(1)
        return probe(*arguments)

    monkeypatch.setattr(module, "probe", replace)
    tree.scan()
    assert "were changed while they were read" in tree.missing()[100]
    tree.scan()
    assert (tree.measured().keys(), tree.missing()) == ({0, 100}, {})


def test_weights_that_were_replaced_by_older_files_are_measured_again(tree: Tree) -> None:
    """As `cp -p` and `rsync -a` leave them: the configuration beside them is still the newest file."""
    tree.fill(0)
    weights = tree.at(0) / "model.safetensors"
    os.utime(weights, (1e9, 1e9))
    tree.scan()
    before = tree.measured()
    save(make_neox(7), tree.root.parent / "other")
    shutil.copy(tree.root.parent / "other" / "model.safetensors", weights)
    os.utime(weights, (2e8, 2e8))
    tree.scan()
    assert tree.measured() != before


def test_a_scan_goes_on_where_the_tokenizer_that_was_lacking_was_put(tree: Tree) -> None:
    tree.fill(0)
    save(make_neox(1), other := tree.root / "a" / "1" / "step0")
    strip_tokenizer(other)
    tree.scan()
    assert [row["seed"] for row in ScanFolder.list(tree.out)[0].records().missing.to_pylist()] == ["1"]
    TOKENIZER.save_pretrained(other)
    assert not len(tree.scan().records().missing)


@pytest.mark.parametrize("part", ["from_pretrained", "to"])
def test_a_model_that_does_not_fit_is_no_fault_of_its_checkpoint(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    tree.fill(0)

    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    owner = AutoModelForCausalLM if part == "from_pretrained" else torch.nn.Module
    with monkeypatch.context() as patched:
        patched.setattr(owner, part, fail)
        with pytest.raises(SaltusError, match=r"step0 does not fit into memory; take half precision"):
            tree.scan()
    assert tree.scan().finished
    assert tree.missing() == {}


def test_a_device_that_fails_is_no_fault_of_the_checkpoint(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.fill(0)

    def fail(*_: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with monkeypatch.context() as patched:
        patched.setattr("saltus.lm.scanning.probe._probe", fail)
        with pytest.raises(SaltusError, match=r"the device failed \(RuntimeError: CUDA error: an illegal"):
            tree.scan()
    assert tree.scan().finished
    assert tree.missing() == {}


def test_files_that_only_have_another_time_are_the_same(tree: Tree) -> None:
    tree.fill(0, 100)
    summary = tree.scan().summary()
    for path in tree.at(100).iterdir():
        os.utime(path, ns=(1, 1))
    folder = tree.scan()
    assert folder.summary() == summary
    content = folder.content(RUN, 100)
    assert content is not None
    assert content.modified == 2  # of two files, so that nothing is read next time


def test_what_was_measured_stays_where_its_weights_are_gone(tree: Tree) -> None:
    tree.fill(0, 100)
    tree.scan()
    before = tree.measured()
    shutil.rmtree(tree.at(100))
    tree.scan()
    (tree.at(0) / "model.safetensors").unlink()
    tree.scan()
    assert tree.measured() == before


def test_rows_that_the_suite_lists_no_more_are_named(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.fill(0, 100)
    tree.scan()
    (tree.root / "a").rename(tree.root / "b")
    capsys.readouterr()
    tree.scan(console=Console(width=400))
    said = capsys.readouterr().out
    assert "the suite lists 2 of the measured checkpoints no more, such as a seed 0 step 0; their rows stay, so" in said
    assert {row["size"] for row in ScanFolder.list(tree.out)[0].records().probes.to_pylist()} == {"a", "b"}


def test_a_suite_that_grew_is_gone_on_with(tree: Tree) -> None:
    tree.fill(0, 100)
    tree.scan()
    before = tree.measured()
    tree.fill(200)
    tree.scan()
    assert tree.measured().keys() == {0, 100, 200}
    assert {step: tree.measured()[step] for step in before} == before


def test_a_finished_scan_can_be_had_without_its_suite(tree: Tree) -> None:
    tree.fill(0, 100)
    tree.scan()
    tree.root.rename(tree.root.with_name("moved"))
    assert tree.scan().records().finished


def test_an_audit_forgets_what_was_mended_and_so_does_the_scan(tree: Tree) -> None:
    tree.fill(0, 100, 200, 300)
    own = (tree.at(200) / "model.safetensors").read_bytes()
    shutil.copy(tree.at(300) / "model.safetensors", tree.at(200))

    def audit() -> set[int]:
        found = api.audit(open_suite(f"folder:{tree.root}"), out=tree.out, console=QUIET).records().findings.to_pylist()
        return {row["step"] for row in found if row["kind"] == "identical"}

    assert audit() == {200, 300}
    tree.scan()
    assert tree.missing().keys() == {200, 300}
    (tree.at(200) / "model.safetensors").write_bytes(own)
    tree.scan()  # the finding is of other weights, so that it is forgotten before the next audit
    assert (tree.measured().keys(), tree.missing()) == ({0, 100, 200, 300}, {})
    assert audit() == set()


# --- what is elsewhere -------------------------------------------------------------------------------------------


class Half:
    """A suite of which some checkpoints are at hand, as a hub's while offline."""

    name = "half"

    def __init__(self, tree: Tree, *here: int) -> None:
        self._tree, self.here = tree, here

    def runs(self) -> list[Run]:
        return [RUN]

    def steps(self, run: Run) -> list[int]:
        return [0, 100, 200]

    def locate(self, run: Run, step: int) -> Path | None:
        return self._tree.at(step) if step in self.here else None

    def fetch(self, run: Run, step: int) -> Path:
        place = self.locate(run, step)
        if place is None:
            raise UnreachableCheckpoint(f"step {step} is not in the cache, and offline nothing is fetched")
        return place


def test_what_is_not_cached_offline_is_missing_and_asked_for_again(tree: Tree) -> None:
    tree.fill(0, 100, 200)
    tree.scan(suite=Half(tree, 0, 100))
    assert (tree.measured().keys(), tree.missing().keys()) == ({0, 100}, {200})
    tree.scan(suite=Half(tree, 0, 100, 200))
    assert (tree.measured().keys(), tree.missing()) == ({0, 100, 200}, {})


def test_an_audit_says_nothing_of_what_is_not_cached_offline(tree: Tree) -> None:
    tree.fill(0, 100, 200)
    found = api.audit(Half(tree, 0, 100), out=tree.out, console=QUIET).records()
    assert (found.findings.to_pylist(), found.checkpoints["step"].to_pylist()) == ([], [0, 100])


def test_known_faults_of_pythia_are_left_out_unless_an_audit_has_seen_the_checkpoint(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saltus.lm.suites import pythia

    tree.fill(0, 100, 200)
    suite = Half(tree, 0, 100, 200)
    suite.name = "pythia"
    monkeypatch.setattr(pythia, "KNOWN_FAULTS", (pythia.KnownFault("a", "0", "of another run", (100,)),))
    tree.scan(suite=suite)
    assert tree.missing() == {100: "known: of another run"}
    api.audit(suite, out=tree.out, console=QUIET)
    tree.scan(suite=suite)
    assert (tree.measured().keys(), tree.missing()) == ({0, 100, 200}, {})
