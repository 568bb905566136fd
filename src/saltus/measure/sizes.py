"""Steps against size: one fit over all sizes, seeds and censored runs, with a slope and its interval."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saltus.curves import Emergence
from saltus.errors import SaltusError
from saltus.measure.intervals import Estimate
from saltus.measure.parametric import StepFit, fit_steps

_SIZE = re.compile(r"(?<![0-9a-z.])(\d+(?:\.\d+)?)([kmb])(?![0-9a-z])", re.IGNORECASE)
_FACTORS = {"k": 1e3, "m": 1e6, "b": 1e9}


@dataclass(frozen=True)
class SizeFit:
    """Log steps, normal around a straight line in the logarithm of the size."""

    slope: Estimate
    """Of log steps for log size: steps go as size to this power."""
    medians: dict[float, Estimate]
    """By size in parameters: the step by which half of the runs have emerged, of the fitted line."""
    fit: StepFit
    """Its covariate "size" is the natural logarithm of the size over the smallest one."""
    unwatched: int
    """Runs that take no part, since nothing is known of them."""

    @property
    def sentence(self) -> str:
        """The slope and its interval, in a sentence that names n."""
        told = (
            f"{self.fit.units} runs of {len(self.medians)} sizes, {self.fit.events} of which emerged: "
            f"steps go as size to the power of {self.slope.value:.2f} "
        )
        if not np.isfinite([self.slope.lower, self.slope.upper]).all():
            return told + "[no limit]; it takes more runs that emerge"
        return told + f"[{self.slope.lower:.2f}, {self.slope.upper:.2f}]"


def fit_sizes(found: Sequence[Emergence], level: float = 0.95) -> SizeFit:
    """Fit when one unit emerged in runs of several sizes; the name of each group says its size, such as 1.4b.

    Each emergence counts as a run of its own. Runs that were not watched beyond step 0 take no part.

    Raises:
        SaltusError: if a name says no size or several, a run is there twice, there is one size alone, or the steps set
            no slope.

    """
    if len({(e.key.group, e.key.seed) for e in found}) < len(found):
        raise SaltusError("fit: a seed of a group is there twice; give each run once")
    watched = [e for e in found if not e.unwatched]
    sizes = np.array([read_size(e.key.group) for e in watched])
    if len(np.unique(sizes)) < 2:
        raise SaltusError(
            f"fit: a slope needs two sizes; there are {sorted(set(sizes.tolist()))} among runs that were watched "
            "beyond step 0"
        )
    left = [float(e.after) for e in watched]
    right = [np.inf if e.by is None else float(e.by) for e in watched]
    logs = np.log(sizes / sizes.min())
    fitted = fit_steps(left, right, logs[:, None], ["size"])
    medians = {
        float(size): fitted.bound_quantile(0.5, [np.log(size / sizes.min())], level) for size in np.unique(sizes)
    }
    return SizeFit(fitted.bound_coefficient("size", level), medians, fitted, len(found) - len(watched))


def read_size(name: str) -> float:
    """The number of parameters that a name says: 1.6e8 of pythia-160m.

    Raises:
        SaltusError: if it says none, or several.

    """
    said = {float(number) * _FACTORS[unit.lower()] for number, unit in _SIZE.findall(name)}
    if len(said) != 1:
        raise SaltusError(
            f"fit: the name {name!r} says {len(said)} sizes; name each group with one, such as pythia-70m"
        )
    return said.pop()
