"""The results of a study: for each of its cells the records of the largest scale at which it has been run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saltus.curves import Curves, Emergences, Rule
from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.studies.cells import Cell, Keys, Value
from saltus.studies.claims import Comparison
from saltus.studies.flops import Cost, price_run
from saltus.studies.tried import Setting, Tried
from saltus.train.flops import Spent, count_spent
from saltus.train.records import RunRecords

_LATELY = 500
"""Steps before the end over which it is said how much a loss was still falling."""


@dataclass(frozen=True)
class Result(Tried[RunSpec]):
    """What one cell gave."""

    cell: Cell
    records: RunRecords
    scale: str
    """The scale at which the cell was run; `short` at full size with a budget that is shorter than the paper's."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.cell.name

    def __getitem__(self, key: str) -> Value:
        """The value of a key of the cell."""
        return self.cell.key[key]

    @property
    def key(self) -> Keys:
        """The keys of the cell."""
        return self.cell.key

    @property
    def budget(self) -> int:
        """Steps that the run could take."""
        return self.cell.run.training.steps

    @property
    def setting(self) -> Setting:
        """The learning rate and the scale of the initialisation."""
        return self.cell.run.training.learning_rate, self.cell.run.training.initialisation_scale

    @property
    def curves(self) -> Curves:
        """Of every unit of every seed, and of the whole of them."""
        return self.records.curves

    def price(self, steps: float, teacher: RunSpec | None = None) -> Cost:
        """What so many steps of one seed cost; where each seed left phases by itself, the mean over seeds.

        A seed that stopped before is counted as if it had gone on.
        """
        run, records = self.cell.run, self.records
        if not any(phase.until_solved for phase in run.curriculum):
            return price_run(run, steps, teacher)
        means: list[float] = []
        for name, step in zip(Spent._fields, count_spent(run.model_copy(update={"curriculum": ()}), 1.0), strict=True):
            costs = [
                np.interp(min(steps, last), records.evaluated_steps, own) + max(0.0, steps - last) * step
                for last, own in zip(records.last_steps.values(), records.cube("phases", name), strict=True)
            ]
            means.append(float(np.mean(costs)))
        return price_run(run, steps, teacher, Spent(*means))

    @property
    def final_loss(self) -> NDArray[np.float64]:
        """[seed] mean training loss, in nats, between the last two evaluations."""
        return self.records.cube("steps", "train_loss")[:, -1]

    @property
    def there_at_end(self) -> NDArray[np.int64]:
        """[seed] units that are beyond the rule's level at the last evaluation, confirmed or not."""
        curves = self.records.curves.parts
        last: dict[str, int] = {}
        for curve in curves:
            last[curve.key.seed] = last.get(curve.key.seed, 0) + int(curve.there(curves.rule)[-1])
        return np.array(list(last.values()))

    def read_units(self, *, hold: int | None = None, until: int | None = None) -> Emergences:
        """When units emerged with another hold, or from the evaluations up to a step alone."""
        curves = self.records.curves.parts
        curves = curves if until is None else curves.until(until)
        return curves.emergences(curves.rule.change(hold=hold))

    def compare_loss(
        self, cell: str, theirs: float | None = None, tolerance: float | None = None, *, fitted: bool = False
    ) -> Comparison:
        """The loss at the end beside theirs; a run that stopped when it was solved may not have come to its end."""
        steps, note = self.records.evaluated_steps, ""
        if steps[-1] < self.budget and len(steps) > 2:
            before = int(np.searchsorted(steps, steps[-1] - _LATELY).clip(min=1, max=len(steps) - 2))
            mean, last = self.records.cube("steps", "train_loss").mean(0), int(steps[-1])
            note = (
                f"stopped when solved, at step {last:,}, and so ends high: it fell by {mean[before] - mean[-1]:.3f} "
                f"in the last {last - steps[before]:,} steps"
            )
        if gone := self.records.diverged:
            note = f"{len(gone)} of {len(self.records.seeds)} seeds diverged"
        losses = [float(loss) if np.isfinite(loss) else None for loss in self.final_loss]
        return Comparison(cell, theirs, losses, self.scale, tolerance=tolerance, fitted=fitted, note=note)

    def passings(self, level: float, column: str = "train_loss") -> list[int | None]:
        """[seed] the first evaluated step with a training loss below `level`, in nats; None within the budget.

        The loss is the mean over the steps between two evaluations. With the paper's level of 1.3 on cellular automata
        it is the end of the plateau. The column `lowest_train_loss` has the cheapest single batch between two
        evaluations, which may be below by luck.
        """
        return [passing.by for passing in self.records.curves_of(column, Rule(below=level)).emergences()]


class Results(Sequence[Result]):
    """The cells of a study that have been run, in the order of the study."""

    def __init__(self, found: Sequence[Result], planned: Sequence[Cell] = ()) -> None:
        self._found = list(found)
        self.planned = list(planned)
        """All cells that are known, run or not."""

    def __getitem__(self, place: int) -> Result:  # pyright: ignore[reportIncompatibleMethodOverride]  # no slices
        return self._found[place]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def find(self, spec: RunSpec) -> RunRecords | None:
        """The records of a run that one of these includes, of its seeds and steps alone; None if there is none."""
        return next((result.records.of(spec) for result in self if result.cell.run.includes(spec)), None)

    def where(self, **key: Value) -> "Results":
        """The results whose cell has these values under these keys.

        Raises:
            SaltusError: if no cell of the study has one of the keys.

        """
        known = dict.fromkeys(name for cell in self.planned for name in cell.key)
        if known and (unknown := [name for name in key if name not in known]):
            raise SaltusError(f"results: no cell has the key {unknown[0]!r}; the keys are {', '.join(known)}")
        return Results([r for r in self if r.cell.fits(key)], [c for c in self.planned if c.fits(key)])

    def having(self, *names: str) -> "Results":
        """The results whose cell has all of these keys."""
        found = [r for r in self if set(names) <= r.cell.key.keys()]
        return Results(found, [c for c in self.planned if set(names) <= c.key.keys()])

    def get(self, **key: Value) -> Result | None:
        """The one result whose cell has these values under these keys; None if it has not been run."""
        found = self.where(**key)
        if len(found) > 1:
            names = ", ".join(result.name for result in found)
            raise SaltusError(f"results: {dict(key)} fits more than one cell: {names}; give more of the keys")
        return found[0] if found else None

    def by(self, name: str) -> dict[Value, Result]:
        """The results that have a key, by its value; values must differ."""
        found = [result for result in self if name in result.cell.key]
        chosen = {result[name]: result for result in found}
        if len(chosen) < len(found):
            raise SaltusError(f"results: several cells have the same {name}; choose among them with where()")
        return chosen
