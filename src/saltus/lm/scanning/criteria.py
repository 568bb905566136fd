"""Which prompts a checkpoint got right, and which sets of them, by the criterion of each capability."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.specs.checkpoints import ScanSpec
from saltus.specs.criteria import CriterionSpec

Answers = Mapping[str, NDArray[Any]]
"""Columns of the table of probes, each [answer]."""


def judge_answers(criterion: CriterionSpec, answers: Answers) -> NDArray[np.bool_]:
    """Whether each answer is right, [answer]; one without a foil has no margin and is not."""
    match criterion.kind:
        case "top-1":
            return answers["correct"].astype(np.bool_)
        case "margin":
            return answers["margin"] > criterion.limit
        case "probability":
            return answers["probability"] >= criterion.limit
        case "rank":
            return answers["rank"] < criterion.limit
        case "loss":
            return measure_loss(answers) < criterion.limit


def measure_loss(answers: Answers) -> NDArray[np.float64]:
    """The loss on the whole target, [answer], in nats; infinite where its probability is 0."""
    with np.errstate(divide="ignore"):
        return -np.log(answers["probability"])


def list_solved(spec: ScanSpec, capability: Sequence[str], answers: Answers) -> NDArray[np.bool_]:
    """What one checkpoint solved, [unit]: each prompt of each capability, then each capability as a set.

    `capability` is [prompt]. A set is solved where the share of its prompts that are right is at least the threshold;
    by the criterion of loss, where the mean loss is below the level.
    """
    names, criteria = np.array(capability), spec.criterion_of
    right = np.zeros(len(names), dtype=np.bool_)
    sets: list[bool] = []
    for name in dict.fromkeys(capability):
        own = names == name
        answered = {column: values[own] for column, values in answers.items()}
        right[own] = judge_answers(criteria[name], answered)
        if criteria[name].kind == "loss":
            sets.append(bool(measure_loss(answered).mean() < criteria[name].limit))
        else:
            sets.append(bool(right[own].mean() >= spec.threshold))
    return np.concatenate([right, np.array(sets, dtype=np.bool_)])
