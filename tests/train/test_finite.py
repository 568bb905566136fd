"""Finite data and maps, drawn for a run or for each seed: which seeds share what, and what is trained on."""

from typing import Any

import numpy as np
import pytest
import torch

from saltus.errors import SaltusError
from saltus.seeding import Streams
from saltus.specs import (
    BiasSpec,
    DataSpec,
    LinearMapSpec,
    ModularAdditionSpec,
    RepeatSpec,
    RunSpec,
    TemperatureSpec,
    TrainingSpec,
    TransformerSpec,
)
from saltus.tasks.build import build_task_of, read_facts
from saltus.tasks.finite import draw_sets
from saltus.tasks.modular_addition import ModularAddition
from saltus.train.ensemble import Ensemble, Member, list_members

TASK = ModularAddition(ModularAdditionSpec(modulus=7))


def make(**values: Any) -> RunSpec:
    training = TrainingSpec(steps=40, batch_sequences=5, compile=False, evaluation_sequences=16)
    task = ModularAdditionSpec(modulus=7)
    model = TransformerSpec(d_model=8, heads=2, d_mlp=8)
    given: dict[str, Any] = {"task": task, "model": model, "training": training, "seeds": 2, **values}
    return RunSpec(**given)


def open_all(spec: RunSpec, members: list[Member] | None = None, *, stacked: bool = False) -> Any:
    return Ensemble([spec], members or list_members([spec]), torch.device("cpu"), stacked=stacked)


def test_the_sets_differ_and_are_all_there_is() -> None:
    train, test = draw_sets(DataSpec(train=20, test=29), TASK, np.random.default_rng(0))
    assert (len(train), len(test)) == (20, 29)
    assert len(np.unique(np.concatenate([train, test]), axis=0)) == 49
    with pytest.raises(SaltusError, match="only 49 different sequences"):
        draw_sets(DataSpec(train=20, test=30), TASK, np.random.default_rng(0))


def test_which_pairs_are_in_the_training_set_is_uniform() -> None:
    count = np.zeros((7, 7))
    for seed in range(2000):
        train, _ = draw_sets(DataSpec(train=10, test=1), TASK, np.random.default_rng(seed))
        np.add.at(count, (train[:, 0], train[:, 1]), 1)
    share = 10 / 49
    assert np.abs(count / 2000 - share).max() < 5 * np.sqrt(share * (1 - share) / 2000)


def test_batches_come_from_the_training_set_and_evaluations_from_the_test_set() -> None:
    spec = make(data=DataSpec(train=6, test=9))
    (train, test) = draw_sets(spec.data or DataSpec(train=1, test=1), TASK, Streams(0).generator("sets", 0))
    lane = open_all(spec)._lanes[0]
    seen: list[tuple[int, ...]] = []
    for step in range(70):  # three blocks
        batch = [tuple(row) for row in lane._batch(step)[0].tolist()]
        assert len(set(batch)) == 5
        seen += batch
    assert set(seen) == {tuple(row) for row in train.tolist()}
    np.testing.assert_array_equal(lane._cells[0].evaluation_tokens.numpy(), test)


@pytest.mark.parametrize("draw", ["run", "seed"])
def test_seeds_share_their_sets_or_have_their_own_whatever_they_train_beside(draw: str) -> None:
    spec = make(data=DataSpec.model_validate({"train": 6, "test": 9, "draw": draw}))
    ensemble = open_all(spec)
    first, second = (lane._cells[0].evaluation_tokens for lane in ensemble._lanes)
    assert torch.equal(first, second) is (draw == "run")
    alone, stacked = open_all(spec, [Member(0, 1)]), open_all(spec, stacked=True)
    for each in (ensemble, alone, stacked):
        each.advance(40)
    evaluated = ensemble.evaluate()[Member(0, 1)]
    np.testing.assert_array_equal(evaluated.loss, alone.evaluate()[Member(0, 1)].loss)
    np.testing.assert_array_equal(evaluated.fit.loss, alone.evaluate()[Member(0, 1)].fit.loss)
    np.testing.assert_allclose(evaluated.loss, stacked.evaluate()[Member(0, 1)].loss, rtol=1e-4)


def test_the_fit_is_that_of_the_training_set() -> None:
    spec = make(
        data=DataSpec(train=5, test=9), training=TrainingSpec(steps=300, batch_sequences=5, compile=False, warmup=0)
    )
    ensemble = open_all(spec, [Member(0, 0)])
    ensemble.advance(300)
    before = ensemble.advance(300)
    assert before[Member(0, 0)].steps == 0
    measured = ensemble.evaluate()[Member(0, 0)]
    last = ensemble.advance(301)[Member(0, 0)]  # the whole training set, with the weights that were measured
    np.testing.assert_allclose(measured.fit.loss.mean(), last.total, rtol=1e-4)
    assert measured.fit.loss[2] < 0.5 < measured.loss[2]


def test_each_seed_may_have_a_map_of_its_own() -> None:
    spec = make(task=LinearMapSpec(size=6, sparsity=2), map="seed")
    truths = [build_task_of(spec, seed).facts.truth for seed in (0, 1)]
    assert not np.array_equal(truths[0], truths[1])
    ensemble = open_all(spec)
    for lane, truth in zip(ensemble._lanes, truths, strict=True):
        np.testing.assert_array_equal(lane._cells[0].facts.truth, truth)
        # the data of a seed obey its own map
        tokens = lane._batch(0)[0].numpy()
        np.testing.assert_array_equal(tokens[:, 6:], tokens[:, :6] @ truth[5:, :6].T % 2)
    ensemble.advance(40)
    alone = open_all(spec, [Member(0, 1)])
    alone.advance(40)
    np.testing.assert_array_equal(ensemble.evaluate()[Member(0, 1)].loss, alone.evaluate()[Member(0, 1)].loss)
    facts = read_facts(spec)
    assert not facts.truth.any()
    assert facts.needed.tolist() == truths[0].sum(1).tolist()
    shared = make(task=LinearMapSpec(size=6, sparsity=2))
    assert np.array_equal(build_task_of(shared, 0).facts.truth, build_task_of(shared, 1).facts.truth)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SaltusError, match=r"a batch has 5 sequences and data.train is 4"):
        make(data=DataSpec(train=4, test=1))
    with pytest.raises(SaltusError, match="map is 'seed' and an intervention is given"):
        make(map="seed", intervention=BiasSpec(strength=1.0), task=LinearMapSpec(size=4, sparsity=1))


def test_what_draws_sequences_by_itself_could_train_on_the_test_set_and_is_refused() -> None:
    pool, data = RepeatSpec(sequences=4, probability=0.5), DataSpec(train=6, test=9)
    for intervention in (pool, (TemperatureSpec(factor=2.0), pool)):
        with pytest.raises(SaltusError, match=r"intervention of kind 'repeat' and data are given; .* leave one of the"):
            make(data=data, intervention=intervention)
    assert make(data=data, intervention=TemperatureSpec(factor=2.0)).interventions
