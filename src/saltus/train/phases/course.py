"""Where one seed stands in its curriculum."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.specs.kinds import find_class
from saltus.tasks.base import Task
from saltus.train.evaluation import Evaluation, Standing
from saltus.train.flops import count_spent
from saltus.train.phases.base import Phase

Evaluate = Callable[[NDArray[Any], Task], Evaluation]
"""[sequence, token] of a task -> what a seed makes of them."""


class Course:
    """The phases that a seed has come through, by the steps at which they began."""

    def __init__(self, spec: RunSpec, seed: int, phases: Sequence[Phase]) -> None:
        self._spec, self._seed, self._phases = spec, seed, phases
        self._streams = Streams(spec.master_seed)
        self.starts = [0]
        """Of the phases that were reached, and of the target after them."""

    @property
    def phase(self) -> Phase | None:
        """The phase in force; None is the target."""
        place = len(self.starts) - 1
        return self._phases[place] if place < len(self._phases) else None

    def reach(self, step: int) -> Phase | None:
        """The phase in force at a step that is not before those that were asked for so far."""
        while (phase := self.phase) and step >= (end := self.starts[-1] + phase.spec.steps):
            self.starts.append(end)
        return self.phase

    def draw(self, step: int, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the phase in force makes of the target's batch [sequence, token], and weights [sequence, query] of
        predictions if they are the phase's own.
        """
        if self.phase is None:
            return tokens, None
        generator = self._streams.generator("phase_data", self._seed, step)
        own, weights = self.phase.draw(step - self.starts[-1], tokens.cpu().numpy(), generator)
        given = None if weights is None else torch.from_numpy(weights).float().to(tokens.device)
        return torch.from_numpy(own).to(tokens.device), given

    def judge(self, step: int, loss: NDArray[np.float64], evaluate: Evaluate) -> Standing:
        """Leave the phase in force at an evaluation if enough of its units are solved.

        `loss` [query] is that of the target; `evaluate` gives it for other sequences of another task. A phase lasts
        from one evaluation to the next at least.
        """
        phase, solved = self.phase, np.nan  # that of the update before
        if phase is not None and phase.spec.until_solved is not None:
            own = loss if phase.probe is None else evaluate(phase.probe, phase.task).loss
            solved = phase.share_solved(own)
            if solved >= phase.spec.until_solved and step > self.starts[-1]:
                self.starts.append(step)
        self.reach(step)
        return Standing(len(self.starts) - 1, solved, *count_spent(self._spec, step, self.starts))

    def save(self) -> NDArray[np.int64]:
        """All that `load` needs."""
        return np.array(self.starts)

    def load(self, saved: NDArray[np.int64]) -> None:
        """Go on from what `save` gave."""
        self.starts = saved.tolist()


def build_phases(spec: RunSpec, target: Task) -> tuple[Phase, ...]:
    """The phases that a run describes, on its task.

    Raises:
        SaltusError: if one of them cannot be made of this task.

    """
    streams = Streams(spec.master_seed)
    return tuple(
        find_class(phase.builds)(phase, spec, target, streams.generator("phase", place))
        for place, phase in enumerate(spec.curriculum)
    )
