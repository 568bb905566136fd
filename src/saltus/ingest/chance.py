"""Levels of chance of common tasks, for metrics that are shares of right answers.

The level of a guess among the choices that a question offers. Where questions differ in the number of choices it is
that of most of them. A constant answer may do better, where the right answers are not spread evenly.
"""

import re
from fnmatch import fnmatchcase
from typing import NamedTuple

SHARES = frozenset({"acc", "acc_norm", "accuracy", "exact_match", "em"})
"""Metrics that lie between 0 and 1, where 1 is the ceiling; a split may stand before, as in `eval_accuracy`."""


class Chance(NamedTuple):
    """Of the tasks that a name fits."""

    name: str
    """With `*` for anything."""
    level: float
    source: str
    """Where the number of choices is stated."""


CHANCES: tuple[Chance, ...] = (
    Chance("lambada*", 0.0, "a word of an open vocabulary; Paperno et al., arXiv 1606.06031"),
    Chance("triviaqa*", 0.0, "an open answer; Joshi et al., arXiv 1705.03551"),
    Chance("gsm8k*", 0.0, "a number; Cobbe et al., arXiv 2110.14168"),
    Chance("piqa", 1 / 2, "two solutions; Bisk et al., arXiv 1911.11641"),
    Chance("winogrande*", 1 / 2, "two names; Sakaguchi et al., arXiv 1907.10641"),
    Chance("wsc*", 1 / 2, "two referents; Levesque et al., KR 2012"),
    Chance("copa", 1 / 2, "two alternatives; Roemmele et al., AAAI Spring Symposium 2011"),
    Chance("boolq*", 1 / 2, "yes or no; Clark et al., arXiv 1905.10044"),
    Chance("blimp*", 1 / 2, "two sentences; Warstadt et al., arXiv 1912.00582"),
    Chance("rte", 1 / 2, "two classes; Wang et al., arXiv 1804.07461"),
    Chance("qnli", 1 / 2, "two classes; Wang et al., arXiv 1804.07461"),
    Chance("sst2", 1 / 2, "two classes; Wang et al., arXiv 1804.07461"),
    Chance("mnli*", 1 / 3, "three classes; Williams et al., arXiv 1704.05426"),
    Chance("anli*", 1 / 3, "three classes; Nie et al., arXiv 1910.14599"),
    Chance("cb", 1 / 3, "three classes; de Marneffe et al., Sinn und Bedeutung 23, 2019"),
    Chance("social_iqa", 1 / 3, "three answers; Sap et al., arXiv 1904.09728"),
    Chance("arc_easy", 1 / 4, "four choices, a few questions three or five; Clark et al., arXiv 1803.05457"),
    Chance("arc_challenge", 1 / 4, "four choices, a few questions three or five; Clark et al., arXiv 1803.05457"),
    Chance("sciq", 1 / 4, "an answer and three distractors; Welbl et al., arXiv 1707.06209"),
    Chance("logiqa*", 1 / 4, "four options; Liu et al., arXiv 2007.08124"),
    Chance("hellaswag", 1 / 4, "four endings; Zellers et al., arXiv 1905.07830"),
    Chance("swag", 1 / 4, "four endings; Zellers et al., arXiv 1808.05326"),
    Chance("openbookqa", 1 / 4, "four choices; Mihaylov et al., arXiv 1809.02789"),
    Chance("race", 1 / 4, "four options; Lai et al., arXiv 1704.04683"),
    Chance("commonsense_qa", 1 / 5, "five choices; Talmor et al., arXiv 1811.00937"),
    Chance("mmlu_pro*", 1 / 10, "ten options in most questions; Wang et al., arXiv 2406.01574"),
    Chance("mmlu*", 1 / 4, "four choices; Hendrycks et al., arXiv 2009.03300"),
    Chance("hendrycksTest-*", 1 / 4, "four choices; Hendrycks et al., arXiv 2009.03300"),
)
"""The first that fits holds."""


def find_chance(task: str, metric: str) -> float | None:
    """The level of chance of a task by a metric; None where it is not known.

    >>> find_chance("hendrycksTest-virology, 5-shot", "acc_norm")
    0.25
    >>> find_chance("lambada_openai", "ppl") is None
    True
    """
    name = task.split(",")[0]
    if not is_share(metric):
        return None
    return next((chance.level for chance in CHANCES if fnmatchcase(name, chance.name)), None)


def is_share(metric: str) -> bool:
    """Whether a metric is a share of right answers, so that 1 is its ceiling.

    >>> is_share("acc,none"), is_share("eval/Accuracy"), is_share("val_acc"), is_share("loss")
    (True, True, True, False)
    """
    name = metric.split(",")[0].lower().rpartition("/")[2]
    return re.sub(r"^(?:eval|val|valid|validation|dev|test|train)_", "", name) in SHARES
