"""How many seeds, by formulas: what a simulation has to agree with, and an answer before there is a pilot."""

from math import ceil, log
from statistics import NormalDist


def count_for_order(probability: float, alpha: float = 0.05, power: float = 0.8, *, two_sided: bool = True) -> float:
    """Seeds in both arms together, half of them each, not rounded, for a Wilcoxon test.

    `probability` is that a seed of one arm emerges before one of the other; .5 is no difference. Noether, Journal of
    the American Statistical Association 82 (1987) 645-647, formula (2).
    """
    _check_share(probability, "probability")
    if probability == 0.5:
        raise ValueError("probability is 0.5, which is no difference; allowed is any other number between 0 and 1")
    return _sum_of_quantiles(alpha, power, two_sided) ** 2 / (3.0 * (probability - 0.5) ** 2)


def count_events(hazard_ratio: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Events in both arms together, half of the seeds each, for a two-sided log-rank test.

    Schoenfeld, Biometrika 68 (1981) 316-319.
    """
    if not 0.0 < hazard_ratio < float("inf") or hazard_ratio == 1.0:
        raise ValueError(f"hazard_ratio is {hazard_ratio}; allowed is a finite number above 0 other than 1")
    return ceil((2.0 * _sum_of_quantiles(alpha, power, True) / log(hazard_ratio)) ** 2)


def count_for_hazard(hazard_ratio: float, share: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Seeds in both arms together for `count_events`, if the share `share` of the seeds emerges within the budget."""
    _check_share(share, "share", closed=True)
    return ceil(count_events(hazard_ratio, alpha, power) / share)


def count_to_see(share: float, certainty: float = 0.95) -> int:
    """Seeds to see at least once, with probability `certainty`, a capability that comes in a share of them."""
    _check_share(share, "share", closed=True)
    _check_share(certainty, "certainty")
    return 1 if share == 1.0 else ceil(log(1.0 - certainty) / log(1.0 - share) - 1e-9)


def bound_unseen(seeds: int, certainty: float = 0.95) -> float:
    """The greatest share of seeds with a capability, with probability `certainty`, that none of `seeds` has shown.

    It is the one-sided limit of Clopper and Pearson (1934).
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; allowed is at least 1")
    _check_share(certainty, "certainty")
    return 1.0 - (1.0 - certainty) ** (1.0 / seeds)


def _sum_of_quantiles(alpha: float, power: float, two_sided: bool) -> float:
    _check_share(alpha, "alpha")
    _check_share(power, "power")
    normal = NormalDist()
    return normal.inv_cdf(1.0 - (alpha / 2 if two_sided else alpha)) + normal.inv_cdf(power)


def _check_share(value: float, name: str, *, closed: bool = False) -> None:
    """Refuse what is not between 0 and 1; `closed` allows 1."""
    if not 0.0 < value < 1.0 and not (closed and value == 1.0):
        raise ValueError(f"{name} is {value}; allowed is a number between 0 and 1")
