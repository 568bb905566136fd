"""Multi-query recall: its data against a plain reader, its places against the power law, and scoring that varies."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn

from saltus import api
from saltus.api.runs import check_run
from saltus.errors import SaltusError
from saltus.specs import BiasSpec, CustomTask, MultiQueryRecallSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.tasks.base import TaskFacts
from saltus.tasks.custom import check_task
from saltus.tasks.multi_query_recall import MultiQueryRecall
from saltus.train.ensemble import Ensemble, list_members
from saltus.train.evaluate import evaluate_seed
from saltus.train.program import Inputs

CPU = torch.device("cpu")
SPEC = MultiQueryRecallSpec(pairs=3, length=20, keys=6, values=5)


def describe(**values: Any) -> MultiQueryRecallSpec:
    given: dict[str, Any] = {"pairs": 3, "length": 20, "keys": 6, "values": 5, **values}
    return MultiQueryRecallSpec(**given)


def make_run(**training: Any) -> RunSpec:
    values: dict[str, Any] = {"steps": 2, "batch_sequences": 8, "evaluation_sequences": 16, "compile": False}
    return RunSpec(
        task=SPEC,
        model=TransformerSpec(layers=2, d_model=8, heads=2, d_mlp=8),
        training=TrainingSpec(**(values | training)),
        seeds=2,
    )


def test_a_sequence_made_by_hand() -> None:
    task = MultiQueryRecall(MultiQueryRecallSpec(pairs=2, length=12, keys=4, values=3))
    tokens = np.array([[2, 4, 0, 6, 5, 1, 0, 6, 2, 4, 3, 6], [0, 5, 1, 5, 1, 5, 0, 5, 4, 2, 3, 6]])
    assert_array_equal(task.order_of(tokens), [[0, 1, 2, 3, 4, 5, 7, 9, 10, 6, 8], [0, 1, 2, 3, 5, 7, 8, 9, 10, 4, 6]])
    assert_array_equal(
        np.argwhere(task.truth_of(tokens)),
        [[0, 6, 3], [0, 8, 1], [1, 4, 3], [1, 6, 1]],
    )


@st.composite
def specs(draw: st.DrawFn) -> MultiQueryRecallSpec:
    pairs = draw(st.integers(1, 5))
    return MultiQueryRecallSpec(
        pairs=pairs,
        length=4 * pairs + 2 * draw(st.integers(0, 6)),
        keys=draw(st.integers(pairs, 9)),
        values=draw(st.integers(2, 300)),
        power=draw(st.floats(0.01, 1.0)),
    )


@given(specs(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_plain_reader_finds_every_answer(spec: MultiQueryRecallSpec, seed: int) -> None:
    task = MultiQueryRecall(spec)
    sequences = task.sample(np.random.default_rng(seed), 4)
    facts, shown = task.facts, 2 * spec.pairs
    assert sequences.shape == (4, spec.tokens) == (4, facts.length)
    for tokens, order, truth in zip(
        sequences.tolist(), task.order_of(sequences).tolist(), task.truth_of(sequences), strict=True
    ):
        assert sorted(order) == list(range(facts.queries))
        value_of = dict(zip(tokens[:shown:2], tokens[1:shown:2], strict=True))
        assert len(value_of) == spec.pairs
        assert max(value_of) < spec.keys <= min(value_of.values()) <= max(value_of.values()) < facts.symbols
        asking = [query for query in range(shown, spec.length) if tokens[query] in value_of]
        assert order[-spec.pairs :] == asking  # each once: whatever else there is, is no key of the sequence
        assert sorted(tokens[query] for query in asking) == sorted(value_of)
        assert [query % 2 for query in asking] == [0] * spec.pairs
        assert [tokens[query + 1] for query in asking] == [value_of[tokens[query]] for query in asking]
        expected = [[query, tokens.index(tokens[query]) + 1] for query in asking]
        assert_array_equal(np.argwhere(truth), expected)


@pytest.mark.parametrize("power", [0.01, 1.0])
def test_places_follow_the_power_law(power: float) -> None:
    spec = MultiQueryRecallSpec(pairs=2, length=14, keys=40, values=40, power=power)
    tokens = MultiQueryRecall(spec).sample(np.random.default_rng(0), 40_000)
    first, second = ((tokens[:, 4::2] == tokens[:, [pair]]).argmax(1) for pair in (0, 2))
    weight = np.arange(1, 6) ** (power - 1.0)
    share = weight / weight.sum()
    # without replacement: the second in proportion to what is left
    left = [sum(share[i] * share[j] / (1 - share[i]) for i in range(5) if i != j) for j in range(5)]
    for places, expected in ((first, share), (second, np.array(left))):
        found = np.bincount(places, minlength=5) / len(tokens)
        assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / len(tokens))).all()


def test_values_and_filler_are_uniform() -> None:
    tokens = MultiQueryRecall(SPEC).sample(np.random.default_rng(0), 20_000)
    assert np.abs(np.bincount(tokens[:, 1], minlength=11)[6:] / 20_000 - 0.2).max() < 0.015
    last = tokens[:, -2][~(tokens[:, -2, None] == tokens[:, :6:2]).any(1)]
    unshown, values = (
        (np.bincount(last, minlength=11) / len(last))[:6],
        (np.bincount(last, minlength=11) / len(last))[6:],
    )
    assert np.abs(values - 1 / 8).max() < 0.015  # of 11 symbols 3 are keys of the sequence
    assert np.abs(unshown - 3 / 8 / 6).max() < 0.015


class Reader(nn.Module):
    """Knows every answer, looks where it stands, and knows nothing of all else."""

    def __init__(self, task: MultiQueryRecall, wrong: bool = False) -> None:
        super().__init__()
        self.task, self.wrong = task, wrong

    def forward(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        facts = self.task.facts
        whole = np.pad(tokens.numpy(), ((0, 0), (0, 1)))
        logits = torch.zeros(*tokens.shape, facts.symbols)
        for n, query, key in np.argwhere(self.task.truth_of(whole)):
            logits[n, query, tokens[n, key]] = 30.0
        if self.wrong:  # the first that is asked in the first sequence
            logits[0, self.task.order_of(whole)[0, -self.task.facts.scored.sum()]] *= -1.0
        return logits

    def forward_with_patterns(self, tokens: Tensor, bias: Tensor | None) -> tuple[Tensor, tuple[Tensor]]:
        truth = torch.from_numpy(self.task.truth_of(np.pad(tokens.numpy(), ((0, 0), (0, 1)))))
        pattern = torch.where(truth.any(-1, keepdim=True), truth.float(), torch.full(truth.shape, 1 / truth.shape[-1]))
        return self.forward(tokens, bias), (pattern[:, None],)


def test_evaluation_scores_what_each_sequence_asks() -> None:
    task = MultiQueryRecall(SPEC)
    tokens = torch.from_numpy(task.sample(np.random.default_rng(0), 16))
    assert len({tuple(order) for order in task.order_of(tokens.numpy()).tolist()}) > 8  # places do differ
    facts = task.facts
    found = evaluate_seed(Reader(task), {}, tokens, task, None, patterns=True)
    assert_allclose(found.loss[-3:], 0.0, atol=1e-10)
    assert_allclose(facts.progress(facts.mean_by_unit(found.loss)), 1.0)
    assert_allclose(found.loss[:-3], np.log(11), rtol=1e-6)  # noise: nothing is known of it
    assert_array_equal(found.accuracy[-3:], 1.0)
    assert found.exact_sequences == 1.0
    assert_array_equal(found.truth_mass[0, 0, -3:], 1.0)
    assert_array_equal(found.overlap[0, 0, -3:], 1.0)
    assert_array_equal(found.truth_mass[0, 0, :-3], 0.0)
    assert_allclose(found.pattern[0, 0, -3:].sum(-1), 1.0, rtol=1e-6)
    wrong = evaluate_seed(Reader(task, wrong=True), {}, tokens, task, None, patterns=False)
    assert_array_equal(wrong.accuracy[-3:], [15 / 16, 1.0, 1.0])
    assert wrong.exact_sequences == 15 / 16


@pytest.mark.parametrize("stacked", [False, True])
def test_the_scored_loss_is_that_of_the_answers_alone(stacked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saltus.train.program.MICRO_BATCH_TOKENS", 60)
    spec, task = make_run(loss="scored"), MultiQueryRecall(SPEC)
    ensemble: Any = Ensemble([spec], list_members([spec]), CPU, stacked=stacked)
    lane = ensemble._lanes[0]
    tokens, before = lane._batch(0), lane._parameters.clone()
    gradient, loss = lane._program.gradient(before, tokens, Inputs(weights=lane._weigh(tokens)))
    for seed in range(len(before)):
        parameters = before[seed].requires_grad_()
        weights, batch = lane._program.unflatten(parameters), tokens[seed].long()
        logits = torch.func.functional_call(lane._program.model, weights, (batch[:, :-1], None))
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none")
        asked = task.truth_of(batch.numpy()).any(-1)
        assert asked.sum() == 8 * 3
        expected = losses[torch.from_numpy(asked)].mean()
        expected.backward()
        assert_allclose(loss[seed].item(), expected.item(), rtol=1e-5)
        assert_allclose(gradient[seed].numpy(), parameters.grad.numpy(), atol=1e-6)


def test_a_run_of_it_is_recorded_and_shown(tmp_path: Path, in_this_process: None) -> None:
    folder = api.run(make_run(influence=True), out=tmp_path, device="cpu")
    records = folder.records()
    assert records.facts.reordered
    assert records.snapshots.attention.shape[-2:] == (3, 19)
    by_place = records.cube("positions", "loss")  # [seed, evaluation, query]
    assert_allclose(records.cube("units", "loss")[..., 0], by_place[..., -3:].mean(-1))
    assert "recall" in api.report([folder], tmp_path / "report.html").read_text()
    spec = make_run().model_copy(update={"intervention": BiasSpec(strength=1.0)})
    with pytest.raises(SaltusError, match="true keys of this task vary"):
        check_run(spec, 1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"length": 13}, "allowed are even lengths from 4 \\* pairs on"),
        ({"length": 10}, "allowed are even lengths from 4 \\* pairs on"),
        ({"keys": 2}, "pairs have different keys"),
        ({"values": 65_536}, "at most 65536"),
        ({"power": 0.0}, "power: 0.0 was given"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SaltusError, match=said):
        describe(**values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pairs": 1, "values": 9}, ["pairs = 1"]),
        ({"length": 12, "values": 64}, ["every place is asked", "comes at least 86%", "left over"]),
        ({"values": 64}, ["comes at least 86%", "left over"]),
        ({"values": 3}, ["left over"]),
        ({"values": 2}, ["left over", "values = 2"]),
    ],
)
def test_corners(values: dict[str, Any], said: list[str]) -> None:
    corners = MultiQueryRecall(describe(**values)).facts.corners
    assert len(corners) == len(said)
    for corner, words in zip(corners, said, strict=True):
        assert words in corner


OWN = """
import numpy as np
from saltus import TaskFacts

class Own:
    '''A sign, 7, stands somewhere; what follows it is the first token again.'''

    def __init__(self, generator):
        self.facts = TaskFacts.of(
            symbols=8, length=6, units={"copy": [4]}, chance=np.log(7), varying=True, reordered=True
        )

    def sample(self, generator, count):
        tokens = generator.integers(0, 7, (count, 6))
        place, rows = generator.integers(1, 5, count), np.arange(count)
        tokens[rows, place], tokens[rows, place + 1] = 7, tokens[:, 0]
        return tokens

    def order_of(self, tokens):
        return np.argsort(tokens[:, :-1] == 7, axis=1, kind="stable")

    def truth_of(self, tokens):
        truth = np.zeros((len(tokens), 5, 5), bool)
        truth[:, :, 0] = tokens[:, :-1] == 7
        return truth
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", None),
        ('kind="stable")', 'kind="stable")[:, ::-1]', "its targets are 8"),
        ("truth[:, :, 0]", "truth[:, :, 4]", "needs a key after it"),
        ('kind="stable")', 'kind="stable") * 0', "each row is to have every query, 0 to 4"),
        (", reordered=True", "", "a key outside changes the target"),
    ],
)
def test_a_task_of_ones_own_may_score_other_places_in_each_sequence(old: str, new: str, said: str | None) -> None:
    task = CustomTask(name="Own", source=OWN.replace(old, new), length=6, symbols=8)
    if said is None:
        check_task(task)
    else:
        with pytest.raises(SaltusError, match=said):
            check_task(task)


def test_facts_are_in_the_order_of_the_sequences_unless_they_say_otherwise() -> None:
    assert not TaskFacts.of(symbols=2, length=3, units={"a": [1]}).reordered
