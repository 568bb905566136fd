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
    return pass_scores(criterion, score_answers(criterion, answers))


def score_answers(criterion: CriterionSpec, answers: Answers) -> NDArray[Any]:
    """What a criterion looks at, [answer]."""
    match criterion.kind:
        case "top-1":
            return answers["correct"]
        case "margin" | "in-context":
            return answers["margin"]
        case "probability":
            return answers["probability"]
        case "rank":
            return answers["rank"]
        case "loss":
            return measure_loss(answers)


def pass_scores(criterion: CriterionSpec, scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether what a criterion looks at is on the right side of its level, of the same shape."""
    match criterion.kind:
        case "top-1":
            return scores.astype(np.bool_)
        case "margin":
            return scores > criterion.limit
        case "probability" | "in-context":
            return scores >= criterion.limit
        case "rank" | "loss":
            return scores < criterion.limit


def measure_loss(answers: Answers) -> NDArray[np.float64]:
    """The loss on the whole target, [answer], in nats, infinite where its probability is 0; of texts, on each token."""
    with np.errstate(divide="ignore"):
        return -np.log(answers["probability"])


def list_solved(spec: ScanSpec, capability: Sequence[str], answers: Answers) -> NDArray[np.bool_]:
    """What one checkpoint solved, [unit]: each prompt of each capability, then each capability as a set.

    `capability` is [prompt]. A set is solved where the share of its prompts that are right is at least the threshold;
    by a criterion of loss, where the mean over its prompts is on the right side of the level.
    """
    names, criteria = np.array(capability), spec.criterion_of
    right = np.zeros(len(names), dtype=np.bool_)
    sets: list[bool] = []
    for name in dict.fromkeys(capability):
        own = names == name
        answered = {column: values[own] for column, values in answers.items()}
        right[own] = judge_answers(criteria[name], answered)
        if criteria[name].by_mean:
            sets.append(bool(pass_scores(criteria[name], score_answers(criteria[name], answered).mean())))
        else:
            sets.append(bool(right[own].mean() >= spec.threshold))
    return np.concatenate([right, np.array(sets, dtype=np.bool_)])
