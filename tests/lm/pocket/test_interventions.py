"""Interventions on pocket runs: what each does, its placebo, no effect where it has no strength, and resumption."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from tests.lm.pocket.test_pocket import Interruption, Log, assert_equal_runs, run_folder
from torch import Tensor
from transformers import GPTNeoXForCausalLM
from transformers.utils.logging import disable_progress_bar

from saltus.errors import SaltusError
from saltus.known_patterns import KNOWN_PATTERNS
from saltus.lm.pocket.corpora import PeriodicCorpus
from saltus.lm.pocket.folder import PocketFolder
from saltus.lm.pocket.interventions.base import Around
from saltus.lm.pocket.interventions.distillation import Distillation
from saltus.lm.pocket.interventions.patterns import attend
from saltus.lm.pocket.interventions.several import Several
from saltus.lm.pocket.interventions.supervision import Supervision
from saltus.lm.pocket.run import PocketRun, train_run
from saltus.lm.pocket.tokenizers import open_corpus, write_corpus
from saltus.lm.pocket.train import train_pocket
from saltus.lm.suites.base import Run
from saltus.seeding import Streams
from saltus.specs import RepeatSpec, TemperatureSpec
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec
from saltus.specs.pocket_interventions import KnownPatternSpec, PocketDistillationSpec

MODEL = PocketModelSpec(name="m", layers=2, d_model=16, heads=2)
WIDE = PocketModelSpec(name="wide", layers=1, d_model=16, heads=4)

SUITE = PocketSpec(
    name="tiny",
    models=(MODEL,),
    seeds=2,
    corpus=PeriodicCorpusSpec(vocabulary=12),
    length=8,
    batch=4,
    steps=24,
    every=8,
)
TEACHERS = SUITE.model_copy(update={"name": "teachers", "models": (WIDE, MODEL), "seeds": 1, "steps": 8})
TEACHER = TEACHERS.identify(TEACHERS.name)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    disable_progress_bar()


class Nobody:
    """Watches a suite and says nothing."""

    def started(self, run: Run, step: int) -> None: ...
    def advanced(self, run: Run, step: int, loss: float) -> None: ...
    def finished(self, run: Run) -> None: ...


def train_whole(spec: PocketSpec, root: Path, stop: int | None = None, seed: int = 0) -> None:
    """One seed of every size in this process, as `train_pocket` does it in others."""
    folder = PocketFolder(root)
    with folder.training(spec, lambda path: write_corpus(spec.corpus, spec.length, path)):
        for model in spec.models:
            run = PocketRun(spec, model, seed, open_corpus(spec.corpus, folder.corpus), root.parent)
            train_run(run, folder.run(Run(model.name, str(seed))), Log(stop))


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of suites with a finished one, of teachers."""
    folder = tmp_path_factory.mktemp("suites")
    train_whole(TEACHERS, folder / TEACHER)
    suite = PocketFolder(folder / TEACHER)
    with suite.writing(TEACHERS):
        suite.finish({})
    return folder


def learn(**values: Any) -> PocketDistillationSpec:
    usual: dict[str, Any] = {"teacher": TEACHER, "size": "wide", "checkpoints": (8,), "share": 0.5}
    return PocketDistillationSpec(**usual | values)


def with_intervention(*what: Any, **values: Any) -> PocketSpec:
    return PocketSpec.model_validate({**SUITE.model_dump(), "intervention": what, **values})


def make_run(*what: Any, beside: Path | None = None, seed: int = 0, **values: Any) -> PocketRun:
    return PocketRun(with_intervention(*what, **values), MODEL, seed, PeriodicCorpus(12), beside)


def draw(sequences: int = 4) -> Tensor:
    return torch.from_numpy(PeriodicCorpus(12).draw(np.random.default_rng(3), sequences, 8))


def sharpen(model: GPTNeoXForCausalLM, by: float = 30.0) -> GPTNeoXForCausalLM:
    """The first weights give nearly even attention; larger ones make patterns that differ."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "query_key_value.weight" in name:
                weight *= by
    return model


def list_weights(run: PocketRun) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in run.model.named_parameters()}


# --- no strength, no effect --------------------------------------------------------------------------------------


def test_what_has_no_strength_has_no_effect_to_the_last_bit(beside: Path) -> None:
    nothing = (
        TemperatureSpec(factor=1.0),
        TemperatureSpec(factor=1.0, rows="values"),
        KnownPatternSpec(pattern="induction", weight=0.0),
        RepeatSpec(sequences=5, probability=0.0),
        learn(weight=0.0),
    )
    plain, idle = make_run(), make_run(*nothing, beside=beside)
    assert plain.advance(9) == idle.advance(9)
    expected = list_weights(plain)
    for name, weight in list_weights(idle).items():
        assert_array_equal(weight.numpy(), expected[name].numpy(), name)


@pytest.mark.parametrize(
    "what",
    [
        TemperatureSpec(factor=2.0, until=3),
        TemperatureSpec(factor=2.0, until=3, schedule="cosine", rows="values"),
        KnownPatternSpec(pattern="previous_token", weight=1.0, until=3),
        KnownPatternSpec(pattern="induction", weight=1.0, until=3, toward="placebo", schedule="linear"),
        RepeatSpec(sequences=5, probability=1.0, until=3),
        learn(until=3),
        learn(until=3, checkpoints=(0, 8), stretch=2),
    ],
)
def test_what_has_strength_changes_the_weights_and_lets_go(what: Any, beside: Path) -> None:
    plain, changed = make_run(), make_run(what, beside=beside)
    for run in (plain, changed):
        run.advance(3)
    expected = list_weights(plain)
    assert any((weight != expected[name]).any() for name, weight in list_weights(changed).items())
    several, tokens = Several(Around(with_intervention(what), MODEL, PeriodicCorpus(12), beside)), draw()
    assert several.loss(3, changed.model, tokens) is None
    assert several.data(3, tokens, np.random.default_rng(0)) is tokens
    with several.steering(3, changed.model), torch.no_grad():
        logits = changed.model(tokens).logits
    with torch.no_grad():
        assert_array_equal(logits.numpy(), changed.model(tokens).logits.numpy())


def test_a_run_goes_on_as_a_plain_one_once_all_is_released(beside: Path, tmp_path: Path) -> None:
    released = (
        TemperatureSpec(factor=2.0, until=5),
        KnownPatternSpec(pattern="previous_token", weight=1.0, until=5),
        RepeatSpec(sequences=5, probability=1.0, until=5),
        learn(until=5),
    )
    suite, changed, plain = PocketFolder(tmp_path), make_run(*released, beside=beside), make_run()
    with suite.training(SUITE, lambda path: write_corpus(SUITE.corpus, SUITE.length, path)):
        folder = suite.run(Run("m", "0"))
        changed.advance(5)
        changed.save(folder)
        plain.load(folder, 5)
    assert changed.advance(24) == plain.advance(24)
    expected = list_weights(plain)
    for name, weight in list_weights(changed).items():
        assert_array_equal(weight.numpy(), expected[name].numpy(), name)


# --- temperature -------------------------------------------------------------------------------------------------


def run_with(model: GPTNeoXForCausalLM, what: TemperatureSpec) -> tuple[Tensor, Tensor]:
    """Logits and patterns under a temperature at step 0."""
    several = Several(Around(with_intervention(what), MODEL, PeriodicCorpus(12), None))
    with several.steering(0, model), torch.no_grad():
        return model(draw()[:, :-1]).logits, attend(model, draw())


def test_a_temperature_is_a_factor_on_the_logits_of_attention() -> None:
    """Beside the scale by which transformers itself multiplies these logits."""
    model = sharpen(make_run().model)
    logits, patterns = run_with(model, TemperatureSpec(factor=2.5, layers=(1,)))
    before = attend(model, draw()).detach()
    model.get_submodule("gpt_neox.layers.1.attention").scaling *= 2.5  # pyright: ignore
    with torch.no_grad():
        assert_allclose(logits.numpy(), model(draw()[:, :-1]).logits.numpy(), rtol=0, atol=1e-6)
    expected = attend(model, draw()).detach()
    assert_allclose(patterns.numpy(), expected.numpy(), rtol=0, atol=1e-6)
    assert (expected[:, 1] - before[:, 1]).abs().max() > 0.1
    assert_array_equal(patterns[:, 0].numpy(), before[:, 0].numpy())


def test_of_chosen_heads_alone() -> None:
    """Beside softmax of the logarithms of the patterns times the factor, in one layer."""
    model = sharpen(make_run().model)
    before = attend(model, draw()).detach()
    _, patterns = run_with(model, TemperatureSpec(factor=0.5, layers=(0,), heads=(1,)))
    sharp = before[:, 0].pow(0.5)
    assert_allclose(patterns[:, 0, 1].numpy(), (sharp / sharp.sum(-1, keepdim=True))[:, 1].numpy(), rtol=0, atol=1e-6)
    assert_array_equal(patterns[:, 0, 0].numpy(), before[:, 0, 0].numpy())


def test_its_placebo_is_the_same_factor_on_the_values() -> None:
    model = sharpen(make_run().model)
    before = attend(model, draw()).detach()
    logits, patterns = run_with(model, TemperatureSpec(factor=2.5, rows="values", layers=(1,)))
    assert_array_equal(patterns.numpy(), before.numpy())  # the values of the last layer reach no pattern
    with torch.no_grad():
        module = model.get_submodule("gpt_neox.layers.1.attention.query_key_value")
        for weight in module.parameters():
            weight.unflatten(0, (2, 3, 8))[:, 2] *= 2.5
        assert_allclose(logits.numpy(), model(draw()[:, :-1]).logits.numpy(), rtol=0, atol=1e-6)


# --- supervision -------------------------------------------------------------------------------------------------


def supervise(**values: Any) -> Supervision:
    usual: dict[str, Any] = {"pattern": "induction", "weight": 1.0, "share": 0.5}
    spec = KnownPatternSpec(**usual | values)
    around = Around(with_intervention(spec), MODEL, PeriodicCorpus(12), None)
    return Supervision(spec, around, np.random.default_rng(1))


def added(what: Supervision | Distillation, model: GPTNeoXForCausalLM, step: int = 0) -> Tensor:
    loss = what.loss(step, model, draw())
    assert loss is not None
    return loss


@pytest.mark.parametrize("pattern", ["previous_token", "induction"])
def test_the_divergence_is_from_the_known_pattern(pattern: Any) -> None:
    """Beside a sum over queries and keys, one after the other; a half of four sequences are read."""
    model = sharpen(make_run().model)
    patterns, sums, queries = attend(model, draw()).detach().numpy().astype(np.float64), np.zeros(4), 0
    for place, tokens in enumerate(draw()[:2, :-1].numpy()):
        for query, keys in enumerate(KNOWN_PATTERNS[pattern](tokens)):
            queries += bool(keys.any())
            for key in np.flatnonzero(keys):
                share = 1 / keys.sum()
                sums += share * np.log(share / patterns[place, :, :, query, key].ravel())
    every = sums / queries
    for match, expected in (("best", every.min()), ("all", every.mean())):
        found = added(supervise(pattern=pattern, match=match, weight=3.0), model).item()
        assert found == pytest.approx(3 * expected, rel=1e-5)
    chosen = added(supervise(pattern=pattern, match="all", layers=(1,), heads=(0,)), model).item()
    assert chosen == pytest.approx(every[2], rel=1e-5)


def test_the_placebo_has_as_many_other_keys_and_none_ahead() -> None:
    tokens = draw(40)[:, :-1].numpy()
    for pattern in ("previous_token", "induction"):
        true, wrong = (supervise(pattern=pattern, toward=each).find_keys(tokens) for each in ("pattern", "placebo"))
        assert_array_equal(true, [KNOWN_PATTERNS[pattern](each) for each in tokens])
        assert_array_equal(wrong.sum(-1), true.sum(-1))
        assert not np.triu(wrong, 1).any()
        single = true.sum(-1) == 1
        assert not (wrong & true)[single].any()
    previous = supervise(pattern="previous_token", toward="placebo").find_keys(tokens)
    assert (previous == previous[0]).all()  # the same wrong keys in all sequences


@pytest.mark.parametrize("toward", ["pattern", "placebo"])
def test_supervision_brings_what_it_is_toward(toward: Any) -> None:
    spec = KnownPatternSpec(pattern="previous_token", weight=1.0, share=0.5, toward=toward)
    run = make_run(spec, learning_rate=1e-2)
    run.advance(60)
    around = Around(with_intervention(spec), MODEL, PeriodicCorpus(12), None)
    what = Supervision(spec, around, Streams(0).generator("intervention", 0))  # as the run draws its placebo
    wanted = torch.from_numpy(what.find_keys(draw()[:, :-1].numpy()))
    mass = (attend(run.model, draw()).detach() * wanted[:, None, None]).sum(-1)[..., 1:].mean((0, 3)).max()
    assert mass > 0.75  # of even attention 0.37


# --- the gradient of what is added -------------------------------------------------------------------------------


STEP = 1e-3


def check_gradient(loss: Callable[[], Tensor], model: GPTNeoXForCausalLM) -> None:
    """Along random directions, beside differences of the loss; transformers takes its softmax in 32 bits."""
    model.zero_grad()
    loss().backward()
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "query_key_value" not in name:
            continue
        way = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        assert (slope := weight.grad) is not None
        values: list[float] = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * STEP * way
                values.append(loss().item())
                weight -= sign * STEP * way
        found = (values[0] - values[1]) / (2 * STEP)
        assert (slope * way).sum().item() == pytest.approx(found, rel=5e-3, abs=1e-4), name
    assert any(weight.grad is not None and weight.grad.abs().max() > 1e-3 for weight in model.parameters())


@pytest.mark.parametrize("match", ["best", "all"])
@pytest.mark.parametrize("toward", ["pattern", "placebo"])
def test_gradient_of_supervision(match: Any, toward: Any) -> None:
    model, what = sharpen(make_run().model.double(), 5.0), supervise(match=match, toward=toward)
    check_gradient(lambda: added(what, model), model)


def test_gradient_of_distillation(beside: Path) -> None:
    model, what = sharpen(make_run().model.double(), 5.0), distil(beside)
    what._teachers = [sharpen(each.double(), 5.0) for each in what._teachers]  # pyright: ignore[reportPrivateUsage]
    check_gradient(lambda: added(what, model), model)


# --- distillation ------------------------------------------------------------------------------------------------


def distil(beside: Path, **values: Any) -> Distillation:
    spec = learn(**values)
    around = Around(with_intervention(spec), MODEL, PeriodicCorpus(12), beside)
    return Distillation(spec, around, np.random.default_rng(0))


def test_each_head_of_a_teacher_is_compared_with_the_nearest_of_the_student(beside: Path) -> None:
    """Beside all pairs of heads, one after the other."""
    what, student = distil(beside), sharpen(make_run().model)
    (teacher,) = (sharpen(each) for each in what._teachers)  # pyright: ignore[reportPrivateUsage]
    read = draw()[:2]
    theirs, own = (attend(each, read).detach().double().flatten(1, 2).numpy() for each in (teacher, student))
    nearest: list[float] = []
    for head in range(4):
        pairs: list[float] = []
        for other in range(4):
            p, q = theirs[:, head], own[:, other]
            terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / np.where(q > 0, q, 1)), 0)
            pairs.append(terms.sum(-1).mean())
        nearest.append(min(pairs))
    assert added(what, student).item() == pytest.approx(np.mean(nearest), rel=1e-4)


def test_a_student_that_is_its_teacher_has_nothing_to_learn(beside: Path) -> None:
    what = distil(beside, size="m")
    student = GPTNeoXForCausalLM.from_pretrained(PocketFolder(beside / TEACHER).run(Run("m", "0")).checkpoint(8))
    assert added(what, student).item() == pytest.approx(0, abs=1e-6)


def test_checkpoints_come_in_turn_and_the_placebo_is_the_first(beside: Path) -> None:
    turns, student = distil(beside, checkpoints=(0, 4, 8), stretch=10), sharpen(make_run().model)
    for step, checkpoint in ((0, 0), (9, 0), (10, 4), (20, 8), (500, 8)):
        alone = added(distil(beside, checkpoints=(checkpoint,)), student)
        assert added(turns, student, step).item() == alone.item()
    assert added(turns, student, 0).item() != added(turns, student, 10).item()


def test_queries_and_keys_are_copied_and_values_are_not(beside: Path) -> None:
    plain, copied = make_run(), make_run(learn(size="m", how="copy"), beside=beside)
    teacher = GPTNeoXForCausalLM.from_pretrained(PocketFolder(beside / TEACHER).run(Run("m", "0")).checkpoint(8))
    theirs, before = dict(teacher.named_parameters()), list_weights(plain)
    for name, weight in list_weights(copied).items():
        if ".query_key_value." in name:
            own, their, old = (each.detach().unflatten(0, (2, 3, 8)) for each in (weight, theirs[name], before[name]))
            assert_array_equal(own[:, :2].numpy(), their[:, :2].numpy())
            assert_array_equal(own[:, 2].numpy(), old[:, 2].numpy())
        else:
            assert_array_equal(weight.numpy(), before[name].numpy())


# --- repetition --------------------------------------------------------------------------------------------------


def test_a_pool_comes_again_and_its_placebo_does_not() -> None:
    def repeat(**values: Any) -> Several:
        usual: dict[str, Any] = {"sequences": 3, "probability": 0.5}
        spec = RepeatSpec(**usual | values)
        return Several(Around(with_intervention(spec), MODEL, PeriodicCorpus(12), None))

    tokens = draw(400)
    pool, fresh = (each.data(5, tokens, np.random.default_rng(0)) for each in (repeat(), repeat(source="fresh")))
    exchanged = (pool != tokens).any(1)
    assert 150 < exchanged.sum() < 250
    assert len(torch.unique(pool[exchanged], dim=0)) == 3
    assert_array_equal((fresh != tokens).any(1).numpy(), exchanged.numpy())
    assert len(torch.unique(fresh[exchanged], dim=0)) > 100
    assert {tuple(row) for row in repeat(probability=1.0).data(9, tokens, np.random.default_rng(1)).tolist()} == {
        tuple(row) for row in pool[exchanged].tolist()
    }


# --- runs --------------------------------------------------------------------------------------------------------

TOGETHER = (
    TemperatureSpec(factor=2.0, until=20, schedule="linear"),
    KnownPatternSpec(pattern="previous_token", weight=0.5, toward="placebo", layers=(0,)),
    RepeatSpec(sequences=5, probability=0.5),
    learn(checkpoints=(0, 8), stretch=10),
)


def test_a_run_that_is_resumed_is_the_same_run(beside: Path) -> None:
    spec = with_intervention(*TOGETHER)
    whole, broken = beside / "whole", beside / "broken"
    train_whole(spec, whole)
    for stop in (1, 9, 20):
        with pytest.raises(Interruption):
            train_whole(spec, broken, stop=stop)
    train_whole(spec, broken)
    assert_equal_runs(run_folder(whole, MODEL, 0), run_folder(broken, MODEL, 0))


def test_a_seed_is_the_same_whatever_trains_beside_it(beside: Path) -> None:
    """In a process of its own, and in this one after another size and seed."""
    other = PocketModelSpec(name="n", layers=1, d_model=8, heads=2)
    spec = with_intervention(*TOGETHER, steps=9, seeds=1)

    train_pocket(spec, beside / "alone", Nobody())
    family = with_intervention(*TOGETHER, steps=9, seeds=2, models=(other, MODEL))
    train_pocket(family, beside / "family", Nobody(), processes=1)
    assert_equal_runs(run_folder(beside / "alone", MODEL, 0), run_folder(beside / "family", MODEL, 0))


def test_a_description_is_read_back_and_plain_ones_keep_their_hash(beside: Path) -> None:
    spec = with_intervention(*TOGETHER)
    assert PocketSpec(**json.loads(spec.model_dump_json())) == spec
    assert with_intervention(TOGETHER[0]).intervention == TOGETHER[0]
    assert SUITE.content_hash == "a57bbd5adc"
    hashes = [with_intervention(*TOGETHER[:count]).content_hash for count in range(5)]
    assert len(set(hashes)) == 5
    wider = with_intervention(models=(MODEL.model_copy(update={"d_mlp": 9}),))
    assert len({each.former_hash for each in (SUITE, spec, wider)}) == 3


def test_the_width_of_the_mlp_and_the_scale_of_the_first_weights() -> None:
    usual, changed = make_run().model, make_run(initialisation_scale=3.0).model
    names = [name for name, weight in usual.named_parameters() if weight.dim() == 2]
    for name in names:
        one, other = (dict(each.named_parameters())[name].detach().numpy() for each in (usual, changed))
        assert_allclose(other, 3 * one, rtol=1e-5)
    wide = PocketModelSpec(name="m", layers=2, d_model=16, heads=2, d_mlp=5)
    run = PocketRun(with_intervention(models=(wide,)), wide, 0, PeriodicCorpus(12))
    shapes = [tuple(weight.shape) for name, weight in run.model.named_parameters() if "dense_h_to_4h.weight" in name]
    assert shapes == [(5, 16), (5, 16)]


# --- what cannot be done -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (TemperatureSpec(factor=2.0, layers=(2,)), r"intervention.layers names 2; the model has layers 0 to 1"),
        (KnownPatternSpec(pattern="induction", weight=1.0, heads=(5,)), r"intervention.heads names 5; .* 0 to 1"),
        ({"kind": "bias", "strength": 1.0}, r"kind is 'bias'; allowed are temperature, supervision, distillation"),
        ({"factor": 1.0}, r"the key 'kind' is required"),
        ({"kind": "supervision", "weight": 1.0, "pattern": "next_token"}, r"'next_token' was given"),
    ],
)
def test_what_no_description_can_say(what: Any, words: str) -> None:
    with pytest.raises(SaltusError, match=words):
        with_intervention(what)


def list_impossible() -> Iterator[tuple[Any, dict[str, Any], str]]:
    """Distillations, what else the suite has, and what is said."""
    missing = "teachers-0123456789"
    yield learn(teacher=missing), {}, rf"'{missing}' was given, and .* has no finished suite of that name; train it"
    yield learn(), {"length": 9}, r"reads 8 tokens of .* vocabulary of 12, and tiny 9 of .*; take a teacher of the same"
    yield learn(), {"corpus": PeriodicCorpusSpec(vocabulary=13)}, r"vocabulary of 12, and tiny 8 of .* of 13"
    yield learn(size="narrow"), {}, r"has no run narrow seed 0; it has the sizes wide, m and the seeds 0 to 0"
    yield learn(seed=1), {}, r"has no run wide seed 1"
    yield learn(checkpoints=(8, 9), stretch=1), {}, r"checkpoints: 9 was given, and .* has checkpoints at 0, 1, 2, 4, 8"
    yield learn(how="copy"), {}, r"'copy' was given, and layers is 2 in m and 1 in the teacher"


@pytest.mark.parametrize(("what", "values", "words"), list(list_impossible()))
def test_teachers_that_cannot_teach(what: Any, values: dict[str, Any], words: str, beside: Path) -> None:
    """Refused before anything is trained or written."""
    spec = with_intervention(what, **values)
    root = beside / "refused"
    with pytest.raises(SaltusError, match=words):
        train_pocket(spec, root, Nobody())
    assert not root.exists()
