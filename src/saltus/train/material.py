"""What a seed is trained and evaluated on."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.tasks.build import build_task_of
from saltus.tasks.finite import draw_sets
from saltus.train.interventions.several import build_interventions
from saltus.train.memory import DATA_BLOCK
from saltus.train.phases.base import Phase
from saltus.train.phases.course import build_phases


class Material:
    """What one run, or one of its seeds, is given: its task, its data, what it is evaluated on, its interventions."""

    def __init__(self, spec: RunSpec, seed: int, device: torch.device, beside: Path | None = None) -> None:
        """`seed` is one whose map and data these are; `beside` the folder of results of the runs that it needs."""
        self.spec, self.streams = spec, Streams(spec.master_seed)
        self.task = build_task_of(spec, seed)
        self.facts = self.task.facts
        self._training: NDArray[Any] | None = None
        if spec.data is None:
            sequences = self.task.sample(self.streams.generator("evaluation"), spec.training.evaluation_sequences)
        else:
            place = 1 + seed if spec.data.draw == "seed" else 0
            self._training, sequences = draw_sets(spec.data, self.task, self.streams.generator("sets", place))
        self.evaluation_tokens = torch.from_numpy(sequences).to(device)
        self.training_tokens = None if self._training is None else torch.from_numpy(self._training).to(device)
        self.intervention = build_interventions(spec, self.task, beside)

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Of the curriculum. Made when it is trained, and not when it is only measured: own code may be in them."""
        return build_phases(self.spec, self.task)

    def draw(self, seed: int, block: int, batch: int) -> NDArray[Any]:
        """A block of batches, [sequence, token]: fresh, or each of different sequences of the training set."""
        generator = self.streams.generator("data", seed, block)
        if self._training is None:
            return self.task.sample(generator, DATA_BLOCK * batch)
        chosen = [generator.permutation(len(self._training))[:batch] for _ in range(DATA_BLOCK)]
        return self._training[np.concatenate(chosen)]
