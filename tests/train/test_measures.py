"""What is measured at an evaluation, against slow loops and hand-made patterns."""

import math

import numpy as np
import pytest
import torch

from saltus.models.build import build_model
from saltus.specs import LinearMapSpec, TransformerSpec
from saltus.tasks.linear_map import LinearMap
from saltus.train import evaluate as evaluate_module
from saltus.train.evaluate import Evaluation, evaluate_seed
from saltus.train.measures import align, tabulate

TASK = LinearMap(LinearMapSpec(size=4, sparsity=2), np.random.default_rng(0))
FACTS = TASK.facts


def test_an_evaluation_equals_slow_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_module, "EVALUATION_TOKENS", 40)  # several parts
    model = build_model(TransformerSpec(layers=2, d_model=8, heads=2), FACTS, init_seed=1)
    tokens = torch.from_numpy(TASK.sample(np.random.default_rng(1), 23))
    measured = evaluate_seed(model, dict(model.named_parameters()), tokens, FACTS, None, patterns=True)
    loss, right, entropy, exact = np.zeros(7), np.zeros(7), np.zeros((2, 2, 7)), 0
    for sequence in tokens.long():
        with torch.no_grad():
            logits, patterns = model.forward_with_patterns(sequence[None, :-1])
        probabilities = torch.softmax(logits[0], -1).numpy()
        correct = True
        for query in range(7):
            target = int(sequence[query + 1])
            loss[query] -= math.log(probabilities[query, target]) / 23
            hit = int(probabilities[query].argmax()) == target
            right[query] += hit / 23
            correct &= hit or query < 3
            for layer in range(2):
                for head in range(2):
                    for key in range(7):
                        share = float(patterns[layer][0, head, query, key])
                        if FACTS.candidates[query, key] and share > 0:
                            entropy[layer, head, query] -= share * math.log(share) / 23
        exact += correct
    np.testing.assert_allclose(measured.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(measured.accuracy, right)
    np.testing.assert_allclose(measured.entropy, entropy, rtol=1e-4, atol=1e-6)
    assert measured.exact_sequences == pytest.approx(exact / 23)


def make_pattern(*, on_truth: bool) -> np.ndarray:
    """[layer, head, query, key] all attention on the true keys, or on visible keys that are not true."""
    wanted = FACTS.truth if on_truth else np.tri(7, dtype=bool) & ~FACTS.truth
    wanted = np.where(FACTS.scored[:, None], wanted, np.tri(7, dtype=bool))
    return (wanted / wanted.sum(1, keepdims=True)).astype(np.float32)[None, None]


def test_attention_on_the_truth_is_found_and_attention_elsewhere_is_not() -> None:
    mass, overlap = align(make_pattern(on_truth=True), FACTS)
    np.testing.assert_allclose(mass[..., FACTS.scored], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(overlap[..., FACTS.scored], 1.0)
    mass, overlap = align(make_pattern(on_truth=False), FACTS)
    np.testing.assert_array_equal(mass[..., FACTS.scored], 0.0)
    # Query 3 sees four keys, two of them true, so the two it attends to are the false ones; and so on.
    np.testing.assert_array_equal(overlap[..., FACTS.scored], 0.0)


def test_half_of_the_truth_is_half_of_the_overlap() -> None:
    pattern = np.zeros((1, 1, 7, 7), dtype=np.float32)
    for query in range(3, 7):
        true = np.flatnonzero(FACTS.truth[query])
        false = next(key for key in range(query + 1) if not FACTS.truth[query, key])
        pattern[0, 0, query, [true[0], false]] = 0.6, 0.4
    mass, overlap = align(pattern, FACTS)
    np.testing.assert_allclose(mass[0, 0, 3:], 0.6, rtol=1e-6)
    np.testing.assert_array_equal(overlap[0, 0, 3:], 0.5)


def test_rows_carry_the_right_keys() -> None:
    loss = np.arange(7.0)
    pattern = make_pattern(on_truth=True)
    evaluation = Evaluation(
        loss=loss,
        accuracy=np.array([0.5, 0.5, 0.5, 1.0, 1.0, 0.25, 1.0]),
        target_probability=np.full(7, 0.5),
        entropy=np.full((1, 1, 7), 2.0),
        pattern=pattern,
        exact_sequences=0.25,
    )
    tables = tabulate(40, [evaluation, evaluation], np.array([1.5, 2.5]), FACTS)
    steps = tables["steps"].to_pylist()
    assert [row["seed"] for row in steps] == [0, 1]
    assert [row["train_loss"] for row in steps] == [1.5, 2.5]
    assert steps[0]["step"] == 40
    assert steps[0]["loss"] == 3.0
    assert steps[0]["scored_loss"] == 4.5
    assert steps[0]["exact_units"] == 3
    unit = tables["units"].to_pylist()[4 + 2]
    assert (unit["seed"], unit["unit"], unit["loss"], unit["accuracy"]) == (1, 2, 5.0, 0.25)
    assert unit["progress"] == pytest.approx((math.log(2) - 5.0) / math.log(2))
    head = tables["heads"].to_pylist()[3]
    assert (head["layer"], head["head"], head["unit"], head["entropy"], head["overlap"]) == (0, 0, 3, 2.0, 1.0)
    assert tables["positions"].num_rows == 14
