"""Races between the cells of a study: seeds and steps go to those that may still be the best.

How far a race has come follows from the records alone, so it goes on after a kill, is the same from run folders and
from an archive, and can be replayed on cells that were trained in full. The rule is `saltus.measure.race`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from saltus.errors import SaltusError
from saltus.measure.intervals import Floats
from saltus.measure.race import Calibration, History, Order, RaceBy, RaceRules, follow_race
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.studies.cells import Cell
from saltus.train.records import RunRecords

MARGINS: dict[RaceBy, float] = {"median step": 1.3, "solve share": 0.3}
"""Margins that are taken where none is given."""

FIRST = 12
"""The first budget is the whole one over this, where none is given."""

Find = Callable[[RunSpec], RunRecords | None]
"""The records of a run, of no more seeds and steps than it asks for; None if they are not there."""


@dataclass(frozen=True)
class Race:
    """Train only until the best cell is known. The seeds and steps of the cells are the most that any of them gets."""

    by: RaceBy = "median step"
    """What is compared: how soon the whole task is there, or in how many seeds it is there within the budget."""
    margin: float | None = None
    """What matters: a ratio of median steps above 1, or a difference of solve shares; 1.3 and .3 if not given."""
    error: float = 0.05
    """Probability that the best cell is dropped, over all rounds, if it is better than the others by the margin."""
    first_seeds: int = 3
    first_steps: int | None = None
    """Of the first round, doubled until half of the seeds of some cell have solved; a twelfth of the budget if None."""
    within: tuple[str, ...] = ()
    """Keys that cells have to share to race against each other; all cells race in one race if there are none."""

    def __post_init__(self) -> None:
        if self.by not in MARGINS:
            raise SaltusError(f"race: by is {self.by!r}; allowed are {', '.join(MARGINS)}")

    def rules(self, seeds: int, budget: float) -> RaceRules:
        """For cells of so many seeds, and emergence by `budget`, in steps."""
        margin = MARGINS[self.by] if self.margin is None else self.margin
        first = budget / FIRST if self.first_steps is None else min(self.first_steps, budget)
        try:
            return RaceRules(budget, max(first, 1.0), self.by, margin, self.error, min(self.first_seeds, seeds), seeds)
        except ValueError as error:
            raise SaltusError(f"race: {error}") from None

    def list_heats(self, cells: Sequence[Cell]) -> "list[Heat]":
        """The races that the cells are in, each with its own arms."""
        groups: dict[tuple[object, ...], list[Cell]] = {}
        for cell in cells:
            groups.setdefault(tuple(cell.key.get(name) for name in self.within), []).append(cell)
        return [Heat(self, tuple(group)) for group in groups.values()]


@dataclass(frozen=True)
class Heat:
    """Cells that race against each other."""

    race: Race
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        sizes = sorted({(cell.run.seeds, cell.run.training.steps) for cell in self.cells})
        if len(self.cells) < 2 or len(sizes) > 1 or sizes[0][0] < 2:
            told = ", ".join(f"{seeds} seeds and {steps} steps" for seeds, steps in sizes)
            raise SaltusError(
                f"race: {self.name} has {len(self.cells)} cell(s) with {told}; allowed are two or more, all with the "
                "same seeds, of which there are at least two, and the same steps"
            )
        if wrong := [cell.name for cell in self.cells if not cell.run.prolongable]:
            raise SaltusError(
                f"race: {wrong[0]} cannot be given more steps on the way, since its learning rate falls over all its "
                "steps, or its last step is evaluated only because it is the last; take decay='constant', and as many "
                "steps as its schedules of evaluations and snapshots have"
            )

    @property
    def name(self) -> str:
        """The keys that its cells share."""
        return ", ".join(f"{name} {self.cells[0].key.get(name)}" for name in self.race.within) or "the race"

    @property
    def budget(self) -> float:
        """The last step by which an emergence can be confirmed."""
        return float(_list_confirmable(self.cells[0].run)[-1])

    def follow(self, find: Find) -> History:
        """As far as its records go."""
        rules = self.race.rules(self.cells[0].run.seeds, self.budget)
        cells = {cell.name: cell for cell in self.cells}
        calibration = Calibration(rules, len(cells), Streams(0).generator("race"))

        def show(order: Order) -> tuple[Floats, Floats] | None:
            cell = carry_out(cells[order.arm], order)
            records = find(cell.run)
            return None if records is None else records.curves.wholes.emergences().intervals()

        return follow_race(list(cells), calibration, show)

    def reach(self, orders: Iterable[Order]) -> dict[str, Cell]:
        """By name, its cells with the seeds and steps of the last order for each."""
        cells = {cell.name: cell for cell in self.cells}
        return {order.arm: carry_out(cells[order.arm], order) for order in orders}


def carry_out(cell: Cell, order: Order) -> Cell:
    """A cell with the seeds and steps of an order: as many that what is there by its end can be confirmed."""
    confirmable = _list_confirmable(cell.run)
    place = min(int(np.searchsorted(confirmable, order.until)), len(confirmable) - 1)
    steps = _list_regular(cell.run)[place + cell.run.emergence.hold - 1]
    return cell.change(seeds=order.seeds, steps=steps)


def _list_regular(spec: RunSpec) -> list[int]:
    """Steps at which a prolongable run may end and go on later."""
    training = spec.training
    steps = set(training.evaluate.list_steps(training.steps)) - {0}
    if training.patterns or training.influence:
        steps &= set(training.snapshot.list_steps(training.steps))
    return sorted(steps)


def _list_confirmable(spec: RunSpec) -> list[int]:
    """Those of the regular steps by which an emergence can be confirmed within the budget."""
    steps = _list_regular(spec)
    if len(steps) < spec.emergence.hold:
        raise SaltusError(
            f"race: {spec.name} has {len(steps)} evaluations at which it may be stopped and the rule has to hold for "
            f"{spec.emergence.hold}; evaluate more often, or train longer"
        )
    return steps[: len(steps) - spec.emergence.hold + 1]
