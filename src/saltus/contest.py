"""A contest of architectures: on the same cells, each at its own best learning rate, with what the gate asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from saltus.measure.gate import Arm, choose_rate
from saltus.measure.outcomes import task_emergences, unit_emergences
from saltus.measure.survival import estimate_survival, times_of
from saltus.models.build import count_parameters
from saltus.records import RunRecords
from saltus.report.plates import OURS, add_legend, label, open_plate
from saltus.specs import ModelSpec, RunSpec

SWEPT = 1_000
"""Added to the master seed for the sweep: other maps and other seeds than those that are reported."""

NOISE_STEPS = 500
"""Steps on targets of pure noise. A leak shows within some fifty (measured by a public replication)."""


@dataclass(frozen=True)
class Contest:
    """Which models, on which cells, at which learning rates.

    First every arm is swept over the rates, on the first cell and on seeds that are not reported. Only then is it known
    at which rate its cells are run, on its own best one, and with it a run on pure noise.
    """

    arms: Mapping[str, ModelSpec]
    """By name; `match_parameters` makes their sizes alike."""
    cells: Mapping[str, RunSpec]
    """By name, the easiest first: runs whose name, model and learning rate are those of each arm in turn."""
    rates: Sequence[float] = (3e-4, 1e-3, 3e-3)
    """At least three; the best must not lie at the edge."""
    swept: int = 4
    """Seeds of each run of the sweep."""

    def list_sweeps(self) -> list[RunSpec]:
        """The runs of the sweep."""
        first = next(iter(self.cells.values()))
        return [
            _vary(
                first,
                name=self._name_sweep(arm, rate),
                model=model,
                training={"learning_rate": rate},
                seeds=self.swept,
                master_seed=first.master_seed + SWEPT,
            )
            for arm, model in self.arms.items()
            for rate in self.rates
        ]

    def list_reported(self, results: Mapping[str, RunRecords]) -> list[RunSpec]:
        """The runs that follow from the sweep, of the arms whose sweep is there: their cells, and noise."""
        runs: list[RunSpec] = []
        for arm, model in self.arms.items():
            sweep = self._find_sweep(arm, results)
            if len(sweep) < len(self.rates):
                continue
            training = {"learning_rate": choose_rate(sweep), "influence": True}
            runs += [
                _vary(spec, name=f"{arm}-{cell}", model=model, training=training) for cell, spec in self.cells.items()
            ]
            first = next(iter(self.cells.values()))
            steps = min(NOISE_STEPS, first.training.steps)
            noise = {"kind": "noise", "length": first.task.length, "symbols": first.task.vocabulary}
            runs.append(
                _vary(
                    first,
                    name=f"{arm}-noise",
                    task=noise,
                    model=model,
                    training=training | {"steps": steps},
                    seeds=min(2, first.seeds),
                )
            )
        return runs

    def list_arms(self, results: Mapping[str, RunRecords]) -> list[Arm]:
        """The arms of which a reported cell is there, as the gate judges them."""
        arms: list[Arm] = []
        for arm, model in self.arms.items():
            cells = {cell: results[f"{arm}-{cell}"] for cell in self.cells if f"{arm}-{cell}" in results}
            if cells:
                moved = [records.future_influence for records in cells.values()]
                known = [influence for influence in moved if influence is not None]
                arms.append(
                    Arm(
                        name=arm,
                        parameters=count_parameters(model, next(iter(cells.values())).facts),
                        cells=cells,
                        noise=results.get(f"{arm}-noise"),
                        sweep=self._find_sweep(arm, results),
                        future=max(known) if len(known) == len(moved) else None,
                    )
                )
        return arms

    def draw(self, results: Mapping[str, RunRecords]) -> Figure:
        """For each cell the survival of the whole task and of units, and the training loss, a line for each arm."""
        arms = self.list_arms(results)
        cells = [cell for cell in self.cells if any(cell in arm.cells for arm in arms)]
        figure, axes = open_plate(3, max(1, len(cells)))
        for row, cell in enumerate(cells):
            whole, units, loss = axes[3 * row : 3 * row + 3]
            for place, arm in enumerate(arms):
                if cell not in arm.cells:
                    continue
                records = arm.cells[cell]
                style: dict[str, Any] = {
                    "color": OURS[place % len(OURS)],
                    "linestyle": ("-", "--")[place // len(OURS) % 2],
                    "label": arm.name,
                }
                every = [unit for seed in unit_emergences(records) for unit in seed]
                for panel, emergences in ((whole, task_emergences(records)), (units, every)):
                    curve = estimate_survival(*times_of(emergences))
                    panel.step(curve.times, curve.survival, where="post", **style)
                mean = records.cube("steps", "train_loss").mean(0)
                loss.plot(records.evaluated_steps, mean, **style)
            label(whole, f"{cell}: seeds without the whole task", "step", "share (Kaplan-Meier)")
            label(units, f"{cell}: units not yet there", "step", "share (Kaplan-Meier)")
            for panel in (whole, units):
                panel.set_ylim(-0.03, 1.03)
            label(loss, f"{cell}: training loss, mean over seeds", "step", "nats")
            add_legend(loss)
        return figure

    def _find_sweep(self, arm: str, results: Mapping[str, RunRecords]) -> dict[float, RunRecords]:
        names = {rate: self._name_sweep(arm, rate) for rate in self.rates}
        return {rate: results[name] for rate, name in names.items() if name in results}

    def _name_sweep(self, arm: str, rate: float) -> str:
        return f"{arm}-sweep-{rate:g}"


def _vary(template: RunSpec, *, training: Mapping[str, Any], **values: Any) -> RunSpec:
    """The run of `template` with other values, checked again."""
    base = template.model_dump()
    return RunSpec(**(base | values | {"training": base["training"] | training}))
