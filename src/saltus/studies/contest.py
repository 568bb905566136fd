"""A contest of architectures: on the same cells, each at its own best setting, with what the gate asks for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from matplotlib.figure import Figure

from saltus.errors import SaltusError
from saltus.measure.survival import estimate_survival, times_of
from saltus.models.build import count_parameters, match_parameters
from saltus.specs import (
    ConvolutionSpec,
    GatedDeltaNetSpec,
    LinearAttentionSpec,
    LinearRnnSpec,
    MambaSpec,
    MlpMixerSpec,
    MlstmSpec,
    RunSpec,
    RwkvSpec,
    TransformerSpec,
)
from saltus.specs.models import BackboneSpec
from saltus.studies.cells import Cell, vary_run
from saltus.studies.claims import Claim, Comparison
from saltus.studies.gate import Arm, choose_steady
from saltus.studies.panels import OURS, add_shared_legend, label, open_panels, say_not_run
from saltus.studies.race import Race
from saltus.studies.results import Result, Results
from saltus.studies.study import Study
from saltus.studies.tried import Setting, describe_setting
from saltus.tasks.build import read_facts

SWEPT = 1_000
"""Added to the master seed for the sweep: other maps and other seeds than the reported cells have."""

NOISE_STEPS = 500
"""Steps on targets of pure noise. A leak shows within some fifty (measured by a public replication)."""


@dataclass(frozen=True)
class Contest:
    """Which models, on which cells, at which learning rates and initialisations.

    First every arm is swept over them, on seeds that are not reported. Only then is it known with which setting its
    cells are run, its own best one, and with it a run on pure noise.
    """

    arms: Mapping[str, BackboneSpec]
    """By name. In each cell the width of the MLP is chosen so that all have as many parameters as the first."""
    cells: Mapping[str, RunSpec]
    """By name, the easiest first: templates, whose name, model and setting each arm replaces by its own."""
    sweeps: Mapping[str, RunSpec]
    """By cell, what each setting is tried on: the run of the cell with fewer seeds and perhaps fewer steps.

    It is moved to other maps and other seeds than the cell has. A cell without a sweep of its own takes the
    setting of the last easier one that has one, so the easiest needs one.
    """
    rates: Sequence[float] = (3e-4, 1e-3, 3e-3)
    """At least three; the best must not lie at the edge."""
    scales: Sequence[float] = ()
    """Of the initialisation, each with every rate; none for that of the cell alone."""
    race: Race | None = None
    """Train each sweep only until its best setting is known; the sweeps say the most seeds and steps of one."""

    def __post_init__(self) -> None:
        rates = len(set(self.rates))
        if len(self.arms) < 2 or not self.cells or rates < 3:
            raise SaltusError(
                f"contest: {len(self.arms)} arms, {len(self.cells)} cells and {rates} different learning rates were "
                "given; it needs two arms, a cell and three rates"
            )
        if next(iter(self.cells)) not in self.sweeps or not self.sweeps.keys() <= self.cells.keys():
            raise SaltusError(
                f"contest: there are sweeps for {', '.join(self.sweeps) or 'no cell'}; allowed are its cells, "
                f"{', '.join(self.cells)}, and the first of them needs one"
            )

    def list_sweeps(self) -> list[Cell]:
        """The cells of the sweep."""
        return [
            Cell(
                arm=arm,
                sweep=cell,
                rate=setting[0],
                scale_of_initialisation=setting[1],
                brief=True,
                run=vary_run(
                    sweep,
                    name=f"{arm}-sweep-{cell}-{setting[0]:g}" + (f"-{setting[1]:g}" if self.scales else ""),
                    model=model,
                    training=describe_setting(setting),
                    master_seed=sweep.master_seed + SWEPT,
                ),
            )
            for cell, sweep in self.sweeps.items()
            for arm, model in self._match(sweep).items()
            for setting in self._list_settings(sweep)
        ]

    def list_reported(self, results: Results) -> list[Cell]:
        """The cells that follow from the sweeps that are there: for each arm its cells, and noise with the first."""
        cells: list[Cell] = []
        matched = {cell: self._match(spec) for cell, spec in self.cells.items()}
        easiest, first = next(iter(self.cells.items()))
        noise = {"kind": "noise", "length": first.task.tokens, "symbols": first.task.vocabulary}
        for arm in self.arms:
            for cell, spec in self.cells.items():
                sweep = next(self._find_sweeps(arm, cell, results))
                if len(sweep) < len(self._list_settings(spec)):
                    continue
                training = {**describe_setting(choose_steady(sweep)), "influence": True}
                run = vary_run(spec, name=f"{arm}-{cell}", model=matched[cell][arm], training=training)
                cells.append(Cell(arm=arm, cell=cell, run=run))
                if cell == easiest:
                    run = vary_run(
                        first,
                        name=f"{arm}-noise",
                        task=noise,
                        model=matched[cell][arm],
                        training=training | {"steps": min(NOISE_STEPS, first.training.steps)},
                        seeds=min(2, first.seeds),
                    )
                    cells.append(Cell(arm=arm, cell="noise", run=run))
        return cells

    def list_arms(self, results: Results) -> list[Arm]:
        """The arms with a reported cell, as the gate judges them."""
        arms: list[Arm] = []
        for arm in self.arms:
            found = results.where(arm=arm).by("cell")
            cells = {cell: found[cell] for cell in self.cells if cell in found}
            if cells:
                moved = [result.records.future_influence for result in cells.values()]
                known = [influence for influence in moved if influence is not None]
                arms.append(
                    Arm(
                        name=arm,
                        parameters={
                            cell: count_parameters(result.cell.run.model, result.records.facts)
                            for cell, result in cells.items()
                        },
                        cells=cells,
                        noise=found.get("noise"),
                        # At a smaller scale a cell may have had no sweep of its own: then the easier one's was used.
                        sweeps={cell: next(filter(None, self._find_sweeps(arm, cell, results)), {}) for cell in cells},
                        future=max(known) if len(known) == len(moved) else None,
                    )
                )
        return arms

    def draw(self, results: Results) -> Figure:
        """For each cell the survival of the whole task and of units, and the training loss, a line for each arm."""
        arms = self.list_arms(results)
        cells = [cell for cell in self.cells if any(cell in arm.cells for arm in arms)]
        figure, axes = open_panels(3, max(1, len(cells)))
        if not cells:
            for panel in axes:
                say_not_run(panel)
        for row, cell in enumerate(cells):
            whole, units, loss = axes[3 * row : 3 * row + 3]
            for place, arm in enumerate(arms):
                if cell not in arm.cells:
                    continue
                result = arm.cells[cell]
                style: dict[str, Any] = {
                    "color": OURS[place % len(OURS)],
                    "linestyle": ("-", "--")[place // len(OURS) % 2],
                    "label": arm.name,
                }
                for panel, emergences in ((whole, result.tasks), (units, result.units)):
                    curve = estimate_survival(*times_of(emergences))
                    panel.step(curve.times, curve.survival, where="post", **style)
                mean = result.records.cube("steps", "train_loss").mean(0)
                loss.plot(result.records.evaluated_steps, mean, **style)
            label(whole, f"{cell}: seeds without the whole task", "step", "share (Kaplan-Meier)")
            label(units, f"{cell}: units not yet there", "step", "share (Kaplan-Meier)")
            for panel in (whole, units):
                panel.set_ylim(-0.03, 1.03)
            label(loss, f"{cell}: training loss, mean over seeds", "step", "nats")
        add_shared_legend(figure)
        return figure

    def _list_settings(self, run: RunSpec) -> list[Setting]:
        """Every rate with every scale."""
        return list(product(self.rates, self.scales or (run.training.initialisation_scale,)))

    def _match(self, cell: RunSpec) -> dict[str, BackboneSpec]:
        return match_parameters(self.arms, read_facts(cell))

    def _find_sweeps(self, arm: str, cell: str, results: Results) -> Iterator[dict[Setting, Result]]:
        """By setting, the results of the sweep that decides for a cell; then those of each easier cell."""
        order = list(self.cells)
        for other in reversed(order[: order.index(cell) + 1]):
            if other in self.sweeps:
                found = {result.setting: result for result in results.where(arm=arm, sweep=other)}
                yield {each: found[each] for each in self._list_settings(self.sweeps[other]) if each in found}


def make_study(
    full: Contest,
    laptop: Contest | None = None,
    *,
    compare: Callable[[Results], Sequence[Comparison]] | None = None,
    judge: Callable[[Results], Sequence[Claim]] | None = None,
    about: str = "",
) -> Study:
    """The study of a contest: its sweeps, then its cells, each arm with what its sweep chooses.

    `laptop` is the same contest, smaller and with fewer cells; `compare`, `judge` and `about` go to the study.
    """

    def follow(results: Results, scale: str) -> list[Cell]:
        return (laptop if laptop and scale == "laptop" else full).list_reported(results)

    return Study(
        cells=full.list_sweeps(),
        laptop=laptop.list_sweeps() if laptop else (),
        draw=full.draw,
        compare=compare,
        judge=judge,
        follow=follow,
        race=None if full.race is None else replace(full.race, within=("arm", "sweep")),
        arms=full.list_arms,
        about=about,
    )


def list_architectures(*, layers: int, d_model: int, heads: int) -> dict[str, BackboneSpec]:
    """One model of every kind, attention first, of the same depth and width."""
    width: dict[str, Any] = {"layers": layers, "d_model": d_model}
    return {
        "transformer": TransformerSpec(**width, heads=heads),
        "mlp-mixer": MlpMixerSpec(**width, variant="heads", heads=heads),
        "mamba": MambaSpec(**width),
        "gated-delta-net": GatedDeltaNetSpec(**width, heads=heads),
        "rwkv": RwkvSpec(**width),
        "mlstm": MlstmSpec(**width, heads=heads),
        "linear-rnn": LinearRnnSpec(**width, heads=heads),
        "linear-attention": LinearAttentionSpec(**width, heads=heads),
        "convolution": ConvolutionSpec(**width),
    }
