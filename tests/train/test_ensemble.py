"""Training: a seed is the same run whoever it trains with, and the run is what a plain loop would have made."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.seeding import Streams
from saltus.specs import CustomTask, LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.tasks import build as build_module
from saltus.tasks.base import Task, TaskFacts
from saltus.tasks.build import build_task, read_facts
from saltus.tasks.linear_map import LinearMap
from saltus.train import program as program_module
from saltus.train.ensemble import DATA_BLOCK, Ensemble, Member
from saltus.train.evaluation import Evaluation
from saltus.train.schedule import learning_rate_at
from saltus.train.state import MOMENTS, SeedState

CPU = torch.device("cpu")
STEPS = DATA_BLOCK + 4  # over the border of a block of data


def make_spec(**training: Any) -> RunSpec:
    """A small run whose training is varied by the tests."""
    values: dict[str, Any] = {
        "steps": 200,
        "batch_sequences": 24,
        "compile": False,
        "warmup": 5,
        "evaluation_sequences": 32,
    }
    return RunSpec(
        name="small",
        task=LinearMapSpec(size=5, sparsity=2),
        model=TransformerSpec(d_model=16, heads=2, d_mlp=24),
        training=TrainingSpec(**(values | training)),
        seeds=8,
    )


def ensemble_of(spec: RunSpec, seeds: tuple[int, ...], *, stacked: bool = False) -> Ensemble:
    """These seeds of one run."""
    return Ensemble([spec], [Member(0, seed) for seed in seeds], CPU, stacked=stacked)


def advance(ensemble: Ensemble, step: int) -> NDArray[np.float64]:
    """[seed] the summed losses on the way to `step`."""
    return np.array([loss.total for loss in ensemble.advance(step).values()])


def states(ensemble: Ensemble) -> list[SeedState]:
    return list(ensemble.state().values())


def evaluations(ensemble: Ensemble) -> list[Evaluation]:
    return list(ensemble.evaluate().values())


def assert_close_weights(actual: SeedState, desired: SeedState) -> None:
    """Weights equal but for rounding.

    The bias of the keys is left out: the softmax cancels it, so its gradient is rounding noise, which Adam blows up.
    """
    for name, value in desired.items():
        if name not in MOMENTS:
            kept = np.r_[0:16, 32:48] if name.endswith("query_key_value.bias") else slice(None)
            np.testing.assert_allclose(actual[name][kept], value[kept], atol=2e-5, err_msg=name)


def train_seed(seed: int, others: tuple[int, ...], *, stacked: bool) -> tuple[NDArray[np.float64], SeedState]:
    """Train `seed` beside `others`; its summed loss and state."""
    ensemble = ensemble_of(make_spec(), (*others, seed), stacked=stacked)
    return advance(ensemble, STEPS)[-1], states(ensemble)[-1]


@pytest.mark.parametrize("others", [(0,), (0, 1, 2), (7, 4)])
def test_a_seed_trained_on_its_own_lane_equals_itself_bit_by_bit_in_any_company(others: tuple[int, ...]) -> None:
    alone_loss, alone = train_seed(3, (), stacked=False)
    loss, state = train_seed(3, others, stacked=False)
    assert loss == alone_loss
    assert state.keys() == alone.keys()
    for key in alone:
        np.testing.assert_array_equal(state[key], alone[key], err_msg=key)


@pytest.mark.parametrize("others", [(), (0,), (0, 1, 2)])
def test_a_stacked_seed_has_the_same_start_and_the_same_data_whatever_it_is_stacked_with(
    others: tuple[int, ...],
) -> None:
    alone_loss, alone = train_seed(3, (), stacked=False)
    loss, state = train_seed(3, others, stacked=True)
    # Products of stacked matrices may round differently; other data or another start would be far outside of this.
    np.testing.assert_allclose(loss, alone_loss, rtol=1e-5)
    assert_close_weights(state, alone)


def test_two_seeds_differ_in_their_start_and_in_their_data() -> None:
    start = states(ensemble_of(make_spec(), (0, 1)))
    assert not np.array_equal(start[0]["unembedding.weight"], start[1]["unembedding.weight"])
    same_start = ensemble_of(make_spec(), (0, 1))
    same_start.load(0, {Member(0, 0): start[0], Member(0, 1): start[0]})
    losses = advance(same_start, 1)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("loss", ["sequence", "scored"])
def test_training_equals_a_plain_loop(loss: str) -> None:
    spec = make_spec(loss=loss, decay="cosine", weight_decay=0.1)
    streams = Streams(spec.master_seed)
    task = build_task(spec.task, streams.generator("task"))
    model = build_model(spec.model, task.facts, streams.integer("init", 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.1)
    losses: list[float] = []
    for step in range(STEPS):
        block, offset = divmod(step, DATA_BLOCK)
        data = task.sample(streams.generator("data", 2, block), DATA_BLOCK * 24).reshape(DATA_BLOCK, 24, -1)[offset]
        tokens = torch.from_numpy(data).long()
        logits, targets = model(tokens[:, :-1]), tokens[:, 1:]
        if loss == "scored":  # outputs alone: the last five tokens, predicted at the last five queries
            logits, targets = logits[:, -5:], targets[:, -5:]
        value = F.cross_entropy(logits.reshape(-1, 2), targets.reshape(-1))
        optimizer.zero_grad()
        value.backward()
        optimizer.param_groups[0]["lr"] = learning_rate_at(spec.training, step)
        optimizer.step()
        losses.append(value.item())
    ensemble = ensemble_of(spec, (2,))
    (steps, total, lowest) = ensemble.advance(STEPS)[Member(0, 2)]
    assert steps == len(losses) == STEPS
    np.testing.assert_allclose([total, lowest], [sum(losses), min(losses)], rtol=1e-5)
    assert_close_weights(
        states(ensemble)[0], {name: value.detach().numpy() for name, value in model.named_parameters()}
    )


def test_a_compiled_step_equals_the_plain_one() -> None:
    plain = ensemble_of(make_spec(), (0, 1))
    compiled = ensemble_of(make_spec(compile=True), (0, 1))
    np.testing.assert_allclose(advance(compiled, 10), advance(plain, 10), rtol=1e-5)


def test_micro_batches_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = advance(ensemble_of(make_spec(), (0,)), STEPS)
    monkeypatch.setattr(program_module, "MICRO_BATCH_TOKENS", 60)  # 6 sequences of 10 tokens
    np.testing.assert_allclose(advance(ensemble_of(make_spec(), (0,)), STEPS), whole, rtol=1e-6)


def test_a_token_budget_sets_the_number_of_sequences() -> None:
    by_tokens = ensemble_of(make_spec(batch_sequences=None, batch_tokens=249), (0,))
    by_sequences = ensemble_of(make_spec(batch_sequences=24), (0,))
    assert advance(by_tokens, 5) == advance(by_sequences, 5)


@pytest.mark.parametrize("stacked", [False, True])
def test_going_on_from_a_state_equals_not_having_stopped(stacked: bool) -> None:
    unbroken = ensemble_of(make_spec(), (0, 1), stacked=stacked)
    advance(unbroken, 11)
    saved = states(unbroken)
    expected = advance(unbroken, STEPS)
    resumed = ensemble_of(make_spec(), (0, 1), stacked=stacked)
    resumed.load(11, {Member(0, seed): state for seed, state in enumerate(saved)})
    np.testing.assert_array_equal(advance(resumed, STEPS), expected)
    for a, b in zip(states(resumed), states(unbroken), strict=True):
        assert all(np.array_equal(a[key], b[key]) for key in a)


def test_half_precision_products_keep_master_weights_in_float32() -> None:
    half = ensemble_of(make_spec(precision="bfloat16"), (0,))
    full = ensemble_of(make_spec(), (0,))
    half_loss, full_loss = advance(half, STEPS), advance(full, STEPS)
    assert half_loss != full_loss
    np.testing.assert_allclose(half_loss, full_loss, rtol=2e-2)
    state = states(half)[0]
    assert all(value.dtype == np.float32 for value in state.values())
    rounded = torch.from_numpy(state["blocks.0.mlp_in.weight"]).bfloat16().float().numpy()
    assert not np.array_equal(rounded, state["blocks.0.mlp_in.weight"])


class NoisyTargets:
    """A linear map whose outputs are replaced by fresh noise: there is nothing to learn."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def facts(self) -> TaskFacts:
        return self._task.facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        tokens = self._task.sample(generator, count)
        half = tokens.shape[1] // 2
        tokens[:, half:] = generator.integers(0, 2, size=(count, half))
        return tokens

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return self._task.truth_of(tokens)


def test_targets_of_pure_noise_stay_at_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_noise(spec: LinearMapSpec, generator: np.random.Generator) -> Task:
        return NoisyTargets(LinearMap(spec, generator))

    spec = make_spec(steps=600, batch_sequences=64, learning_rate=3e-3, evaluation_sequences=4096)
    honest = ensemble_of(spec, (0, 1))
    advance(honest, 600)
    monkeypatch.setattr(build_module, "build_task", build_noise)
    noise = ensemble_of(spec, (0, 1))
    advance(noise, 600)
    # The control: with real targets the same model in the same time is far below chance.
    assert all(e.loss[4:].mean() < 0.6 for e in evaluations(honest))
    for evaluation in evaluations(noise):
        # 4,096 sequences: the mean of a fair coin's accuracy has a standard error of 0.0078; a leak would show at once.
        assert np.all(evaluation.loss > math.log(2) - 0.005)
        assert np.all(np.abs(evaluation.accuracy - 0.5) < 5 * 0.0078)


def test_a_sequence_longer_than_a_micro_batch_is_trained_on_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = advance(ensemble_of(make_spec(), (0,)), STEPS)
    monkeypatch.setattr(program_module, "MICRO_BATCH_TOKENS", 3)  # of the 10 tokens of a sequence
    np.testing.assert_allclose(advance(ensemble_of(make_spec(), (0,)), STEPS), whole, rtol=1e-5)


def test_the_initialisation_scale_multiplies_matrices_and_leaves_vectors() -> None:
    usual = states(ensemble_of(make_spec(), (3,)))[0]
    scaled = states(ensemble_of(make_spec(initialisation_scale=0.5), (3,)))[0]
    for name, value in usual.items():
        np.testing.assert_array_equal(scaled[name], value * (0.5 if value.ndim > 1 else 1.0), err_msg=name)
    assert usual["embedding.weight"].ndim == usual["positions"].ndim == 2


def test_the_initialisation_scale_leaves_logarithms_of_rates() -> None:
    mamba = {"model": {"kind": "mamba", "d_model": 8, "d_state": 4}}
    usual, scaled = (
        states(ensemble_of(RunSpec.model_validate(make_spec(initialisation_scale=scale).model_dump() | mamba), (3,)))[0]
        for scale in (1.0, 0.5)
    )
    np.testing.assert_array_equal(scaled["blocks.0.mixer.mixer.log_rate"], usual["blocks.0.mixer.mixer.log_rate"])
    weight = "blocks.0.mixer.mixer.input.weight"
    np.testing.assert_array_equal(scaled[weight], usual[weight] * 0.5)


def test_attention_that_is_not_measured_changes_nothing_else() -> None:
    (full,) = evaluations(ensemble_of(make_spec(), (0,)))
    (spared,) = evaluations(ensemble_of(make_spec(patterns=False), (0,)))
    assert (full.pattern.shape[0], spared.pattern.shape[0]) == (1, 0)
    np.testing.assert_allclose(spared.loss, full.loss, rtol=1e-6)
    assert spared.exact_sequences == full.exact_sequences


class Drawn:
    """Bits, one of which, drawn once, is a copy of the first."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.place = int(generator.integers(4, 8))
        self.facts = TaskFacts.of(symbols=2, length=9, units={"copy": [self.place - 1]}, truth={self.place - 1: [0]})

    def sample(self, generator: np.random.Generator, count: int) -> np.ndarray:
        tokens = generator.integers(0, 2, (count, 9))
        tokens[:, self.place] = tokens[:, 0]
        return tokens


def test_what_a_run_is_scored_by_is_not_what_another_one_drew() -> None:
    """Runs that score other predictions are not trained by one program, at once or one after the other."""
    training = TrainingSpec(steps=20, batch_sequences=8, compile=False, warmup=0, loss="scored", evaluation_sequences=8)
    model = TransformerSpec(d_model=8, heads=2)
    runs = [
        RunSpec(task=CustomTask.of(Drawn), model=model, training=training, master_seed=seed, seeds=2)
        for seed in range(6)
    ]
    places = [int(np.flatnonzero(read_facts(run).scored)[0]) for run in runs]
    one, other = runs[0], runs[next(n for n in range(6) if places[n] != places[0])]
    assert one.shape != other.shape
    assert one.shape == one.model_copy(update={"name": "b", "seeds": 5}).shape
    first = ensemble_of(one, (0,))
    after = Ensemble([other], [Member(0, 0)], CPU, stacked=False, like=first)
    assert advance(after, 20).tolist() == advance(ensemble_of(other, (0,)), 20).tolist()
    with pytest.raises(
        SaltusError, match="has other predictions in its units than seed 0; with map='seed' maps differ"
    ):
        ensemble_of(one.model_copy(update={"map": "seed"}), tuple(range(6)))
