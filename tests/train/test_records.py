"""What is known of a task comes back from the arrays that it is kept as."""

from dataclasses import fields

import numpy as np
import pytest

from saltus.specs import AssociativeRecallSpec, InductionSpec, LinearMapSpec, SubsetRecallSpec
from saltus.specs.tasks import TaskSpec
from saltus.tasks.build import build_task
from saltus.train.records import facts_from_arrays, facts_to_arrays

SPECS = [
    LinearMapSpec(size=4, sparsity=2),
    AssociativeRecallSpec(pairs=3, queries=2, keys=5, values=4),
    InductionSpec(symbols=9, length=10, shortest=5, longest=7),
    SubsetRecallSpec(items=3, queries=1, attributes=3, relevant=2, symbols=3, values=4),
]


@pytest.mark.parametrize("spec", SPECS, ids=[spec.kind for spec in SPECS])
def test_facts_come_back(spec: TaskSpec) -> None:
    facts = build_task(spec, np.random.default_rng(0)).facts
    back = facts_from_arrays(*facts_to_arrays(facts))
    for field in fields(facts):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(facts, field.name), field.name)
    assert back.varies == (spec.kind != "linear_map")


def test_what_was_kept_of_tasks_with_one_truth_has_no_key_more() -> None:
    arrays, _ = facts_to_arrays(build_task(SPECS[0], np.random.default_rng(0)).facts)
    assert sorted(arrays) == ["candidates", "chance_loss", "floor_loss", "truth", "unit_of_query"]
