"""The units of work of a patch: each is measured once, by this call or an earlier one, and a listener hears of it.

Work is counted in passes of one position through one block.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Store(Protocol):
    """Where units are kept until the patch is done."""

    def read_unit(self, name: str) -> NDArray[np.float64] | None:
        """The values [row, prompt] of a unit; None where it is not there."""
        ...

    def add_unit(self, name: str, values: NDArray[np.float64]) -> None:
        """Keep the values [row, prompt] of a unit, all or none."""
        ...


class Listener(Protocol):
    """Hears of the progress of a patch. The time between two calls is the time of the work in the second."""

    def planned(self, ahead: float, everything: float, exact: int, heads: int) -> None:
        """So much work is ahead, if `exact` of the `heads` are measured, and `everything` if all of them are."""
        ...

    def worked(self, unit: str, work: float) -> None:
        """A unit was measured."""
        ...

    def spared(self, work: float) -> None:
        """Work that was planned is not needed, or was done by an earlier call."""
        ...


class Units:
    """Hands out the values of units, from the store where they are there."""

    def __init__(self, store: Store | None = None, listener: Listener | None = None) -> None:
        self._store, self._listener = store, listener

    def get(self, name: str, work: float, measure: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        """The values [row, prompt] of a unit, which `measure` returns."""
        kept = self._store.read_unit(name) if self._store else None
        if kept is not None:
            self.spare(work)
            return kept
        values = measure()
        if self._store:
            self._store.add_unit(name, values)
        self.work(name, work)
        return values

    def plan(self, ahead: float, everything: float, exact: int, heads: int) -> None:
        """As `Listener.planned`."""
        if self._listener:
            self._listener.planned(ahead, everything, exact, heads)

    def work(self, name: str, work: float) -> None:
        """As `Listener.worked`, of work that is not kept."""
        if self._listener:
            self._listener.worked(name, work)

    def spare(self, work: float) -> None:
        """As `Listener.spared`."""
        if self._listener:
            self._listener.spared(work)
