"""The first-order effect of a small change is the exact one, and its error falls with the square of the change."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.lm.patching.test_heads import CPU, make_prompts
from tests.lm.tiny_suite import make_model

from saltus.lm.capabilities.batches import batch_prompts
from saltus.lm.patching.heads import Case, measure_heads
from saltus.lm.patching.replacement import Queries, capture_attention, make_replacement
from saltus.lm.patching.screen import estimate_effects, rank_heads

MODEL = make_model(0, layers=3).double()
DONOR = make_model(1, layers=3).double()


def make_cases(share: float, queries: Queries) -> list[Case]:
    """The recipient's patterns, moved a share of the way to the donor's."""
    cases: list[Case] = []
    for batch in batch_prompts(make_prompts(targets=2), CPU):
        own, other = (
            make_replacement(
                capture_attention(model, batch, "pattern", queries, rows=256), "own", np.random.default_rng(0)
            )
            for model in (MODEL, DONOR)
        )
        cases.append(Case(batch, own + share * (other - own)))
    return cases


def find_errors(share: float, queries: Queries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exact effects and what the estimates miss, [layer, head, prompt]."""
    cases = make_cases(share, queries)
    exact = measure_heads(MODEL, cases, rows=256).effect
    return exact, np.abs(estimate_effects(MODEL, cases, rows=256) - exact)


@pytest.mark.parametrize("queries", ["all", "last"])
def test_the_estimate_becomes_exact_as_the_change_becomes_small(queries: Queries) -> None:
    (_, coarse), (exact, fine) = find_errors(0.1, queries), find_errors(0.01, queries)
    assert (fine.max(axis=2) < 0.05 * np.abs(exact).max(axis=2)).all()
    assert (fine.max(axis=2) < 0.03 * coarse.max(axis=2)).all()  # a hundredth, were it not for higher orders


def test_parts_of_the_prompts_give_the_same_estimates() -> None:
    cases = make_cases(1.0, "all")
    together, apart = (estimate_effects(MODEL, cases, rows) for rows in (256, 2))
    np.testing.assert_allclose(apart, together, rtol=1e-6, atol=1e-12)


def test_heads_are_ranked_by_their_mean_effect() -> None:
    effects = np.array([[[0.1, 0.1], [0.5, 0.3]], [[-0.9, -0.9], [0.9, -0.9]]])
    assert rank_heads(effects) == ((0, 1), (0, 0), (1, 1), (1, 0))
