"""One master seed, many named and independent random streams.

A stream is addressed by its name and by integers (a seed, a block of steps), never by what was drawn before it, so
that a seed draws the same numbers alone, in a pair or in an ensemble, and a resumed run needs no generator state.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

StreamName = Literal[
    "task",
    "init",
    "data",
    "evaluation",
    "intervention",
    "influence",
    "prompts",
    "controls",
    "bootstrap",
    "pocket_init",
    "pocket_data",
    "race",
    "sets",
    "map",
    "dropout",
    "phase",
    "phase_data",
    "intervention_data",
]

_STREAM_NUMBERS: dict[StreamName, int] = {
    "task": 1,
    "init": 2,
    "data": 3,
    "evaluation": 4,
    "prompts": 5,
    "controls": 6,
    "bootstrap": 7,
    "pocket_init": 8,
    "pocket_data": 9,
    "intervention": 10,
    "influence": 11,
    "race": 12,
    "sets": 13,
    "map": 14,
    "dropout": 15,
    "phase": 16,
    "phase_data": 17,
    "intervention_data": 18,
}


@dataclass(frozen=True)
class Streams:
    """The random streams of one run."""

    master_seed: int

    def generator(self, name: StreamName, *address: int) -> np.random.Generator:
        """A generator at the start of the stream `name` at `address` (non-negative integers)."""
        return np.random.Generator(np.random.Philox(self._sequence(name, *address)))

    def integer(self, name: StreamName, *address: int) -> int:
        """One 63-bit integer of the stream, to seed a generator of another library."""
        return int(self._sequence(name, *address).generate_state(1, np.uint64)[0]) >> 1

    def _sequence(self, name: StreamName, *address: int) -> np.random.SeedSequence:
        # Four words of 32 bits, filled up with zeros: streams cannot meet while every number is below 2**32, there are
        # at most two in an address, and a name always has the same number of them.
        return np.random.SeedSequence([self.master_seed, _STREAM_NUMBERS[name], *address])
