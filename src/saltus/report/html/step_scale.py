"""Where steps are on an axis: evenly, or by their logarithm with step 0 at its left end."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class StepScale:
    """The axis of steps from 0 to `end`; a logarithmic one places step s at log10(1 + s)."""

    end: int
    log: bool = False

    def place(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Places of steps on the axis."""
        values = np.asarray(steps, dtype=np.float64)
        return np.log10(1.0 + values) if self.log else values

    @property
    def ticks(self) -> NDArray[np.int64]:
        """A few round steps from 0 to the end."""
        if self.log:
            return np.array([0, *(10**power for power in range(int(self.end >= 100), len(str(self.end))) if self.end)])
        least = max(1.0, self.end / 5)
        magnitude = 10 ** int(np.log10(least))
        factor = next(factor for factor in (1, 2, 5, 10) if factor * magnitude >= least)
        return np.arange(0, self.end + 1, factor * magnitude)

    def tick(self, first: int = 0) -> dict[str, Any]:
        """Ticks of an axis, or of a scale of colours, that begins at the step `first`."""
        if not self.log:
            return {"tickvals": self.ticks, "tickformat": ","}
        decades = float(self.place(self.end) - self.place(first))
        steps = self.ticks.tolist()
        fine = steps if decades < 2.5 else steps[-1:] if decades < 3.5 else []
        steps = sorted({*steps, *(factor * step for step in fine for factor in (2, 5) if factor * step <= self.end)})
        return {"tickvals": self.place(steps).tolist(), "ticktext": [_name_step(step) for step in steps]}

    @property
    def axis(self) -> dict[str, Any]:
        """The axis, from a little before 0 to a little after the end."""
        end = float(self.place(self.end)) or 1.0
        title = "step (logarithmic, from 0)" if self.log else "step"
        shape = {"title": {"text": title}, "zeroline": False, "automargin": True}
        return shape | {"range": [-0.03 * end, 1.03 * end]} | self.tick()


def _name_step(step: int) -> str:
    return f"{step // 1000}k" if step >= 1000 else str(step)
