"""Does a change make a capability come sooner? Arms beside a control, each with its placebo, at equal cost.

First the control and every change are swept over learning rates and initialisations, on seeds that are not reported;
then each is run with what was best for it, and each placebo with what was best for its change. An arm is sooner only if
its median is, **in operations**, below both that of the control and that of its placebo, with an interval that says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from matplotlib.figure import Figure

from saltus.errors import SaltusError
from saltus.measure.bootstrap import bootstrap_emergences
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.studies.cells import Cell, spell_name, vary_run
from saltus.studies.claims import Claim, Table
from saltus.studies.gate import Check, score_learning
from saltus.studies.outcome import Outcome, compare_cost, price_result, tabulate_trial
from saltus.studies.panels import OURS, THEIRS, add_legend, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

CONTROL = "control"

SWEPT = 1000
"""Added to the master seed of the sweeps: they see other maps and other seeds than are reported."""

Setting = tuple[float, float]
"""A learning rate and a scale of the initialisation."""


@dataclass(frozen=True)
class Trial:
    """A control, and what is tried on it."""

    control: RunSpec
    changes: Mapping[str, RunSpec]
    """By name: the control with one thing changed."""
    placebos: Mapping[str, RunSpec] = field(default_factory=dict[str, RunSpec])
    """By the name of the change: as strong a change of the same kind, without what is said to help."""
    rates: Sequence[float] = (3e-4, 1e-3, 3e-3)
    scales: Sequence[float] = (1.0,)
    """Of the initialisation."""
    sweep_seeds: int = 4
    teacher: RunSpec | None = None
    """The run that distillations learn from; it is trained first, and what it costs is counted."""

    def __post_init__(self) -> None:
        if not self.changes or CONTROL in self.changes or not self.placebos.keys() <= self.changes.keys():
            raise SaltusError(
                f"trial: the changes are {', '.join(self.changes) or 'none'} and the placebos those of "
                f"{', '.join(self.placebos) or 'none'}; it needs a change that is not named {CONTROL!r}, and placebos "
                "of changes alone"
            )
        if not self.rates or not self.scales:
            raise SaltusError("trial: there are no rates or no scales; give one of each at least")

    @property
    def arms(self) -> dict[str, RunSpec]:
        """The control, then every change."""
        return {CONTROL: self.control, **self.changes}

    @property
    def settings(self) -> list[Setting]:
        """Every rate with every scale."""
        return list(product(self.rates, self.scales))

    def list_sweeps(self) -> list[Cell]:
        """The teacher, and the cells of the sweep: of each arm one for each setting."""
        teachers = [] if self.teacher is None else [Cell(arm="teacher", part="teacher", run=self.teacher)]
        return teachers + [
            Cell(
                arm=arm,
                part="sweep",
                rate=rate,
                scale_of_initialisation=scale,
                run=vary_run(
                    spec,
                    name=spell_name(f"{arm}-sweep-{rate:g}-{scale:g}"),
                    training=describe_setting((rate, scale)),
                    seeds=self.sweep_seeds,
                    master_seed=spec.master_seed + SWEPT,
                ),
            )
            for arm, spec in self.arms.items()
            for rate, scale in self.settings
        ]

    def list_reported(self, results: Results) -> list[Cell]:
        """The cells that follow from the sweeps that are there: each arm, and its placebo, with its best setting."""
        cells: list[Cell] = []
        for arm, spec in self.arms.items():
            sweep = self.find_sweep(arm, results)
            if len(sweep) < len(self.settings):
                continue
            training = describe_setting(choose_setting(sweep))
            cells.append(Cell(arm=arm, part="arm", run=vary_run(spec, name=spell_name(arm), training=training)))
            if arm in self.placebos:
                run = vary_run(self.placebos[arm], name=spell_name(f"{arm}-placebo"), training=training)
                cells.append(Cell(arm=arm, part="placebo", run=run))
        return cells

    def find_sweep(self, arm: str, results: Results) -> dict[Setting, Result]:
        """By setting, the results of an arm's sweep."""
        found = {
            (float(result["rate"]), float(result["scale_of_initialisation"])): result
            for result in results.where(arm=arm, part="sweep")
        }
        return {setting: found[setting] for setting in self.settings if setting in found}

    def list_outcomes(self, results: Results) -> list[Outcome]:
        """What became of every change whose run is there, beside the control."""
        control = results.get(arm=CONTROL, part="arm")
        if control is None:
            return []
        outcomes: list[Outcome] = []
        for arm in self.changes:
            changed, placebo = results.get(arm=arm, part="arm"), results.get(arm=arm, part="placebo")
            if changed is not None:
                checks = self._check(arm, changed, control, results)
                outcomes.append(
                    Outcome(
                        arm,
                        changed,
                        compare_cost(control, changed, self.teacher),
                        None if placebo is None else compare_cost(placebo, changed, self.teacher),
                        arm in self.placebos,
                        tuple(checks),
                        self.teacher,
                    )
                )
        return outcomes

    def _check(self, arm: str, changed: Result, control: Result, results: Results) -> list[Check]:
        """Whether the arm may be called a winner or a loser at all."""
        problems: dict[str, list[str]] = {"rate": [], "initialisation": []}
        for name, result in ((CONTROL, control), (arm, changed)):
            sweep = self.find_sweep(name, results)
            training = result.cell.run.training
            used = (training.learning_rate, training.initialisation_scale)
            if not sweep or used != choose_setting(sweep):
                problems["rate"].append(f"{name} is not at the best setting of its sweep")
            elif not any(score_learning(each)[0] for each in sweep.values()):
                problems["rate"].append(f"{name} learned nothing in its sweep")
            for place, kind, number in ((0, "rate", 3), (1, "initialisation", 2)):
                tried = sorted({setting[place] for setting in sweep})
                if len(tried) < number:
                    problems[kind].append(f"{name} was swept over {len(tried)}")
                elif used[place] in (tried[0], tried[-1]) and kind == "rate":
                    problems[kind].append(f"{name} is best at the edge of its sweep, {used[place]:g}")
        budgets = [price_result(result, result.budget, self.teacher) for result in (control, changed)]
        low, high = sorted(each.operations for each in budgets)
        return [
            Check(f"each arm has its own best {kind}", not told, "; ".join(told) or "swept apart")
            for kind, told in problems.items()
        ] + [
            Check(
                "no arm could spend more than 1.5 times the operations of the other",
                high <= 1.5 * low,
                f"budgets differ by a factor of {high / low:.2f}",
            )
        ]

    def draw(self, results: Results) -> Figure:
        """For each change the share of seeds still without, beside its placebo and the control, against operations."""
        outcomes = self.list_outcomes(results)
        columns = min(3, max(1, len(outcomes)))
        figure, axes = open_panels(columns, max(1, -(-len(outcomes) // columns)))
        for panel, outcome in zip(axes, outcomes, strict=False):
            shown = (
                (CONTROL, results.get(arm=CONTROL, part="arm"), THEIRS),
                ("placebo", results.get(arm=outcome.arm, part="placebo"), OURS[1]),
                (outcome.arm, outcome.result, OURS[0]),
            )
            for name, result, colour in shown:
                if result is None:
                    continue
                steps = result.records.evaluated_steps.astype(float)
                without = bootstrap_emergences(result.tasks, Streams(0).generator("bootstrap"), draws=1)
                spent = [price_result(result, int(step), self.teacher).operations for step in steps]
                panel.plot(spent, without.estimate.survival_at(steps)[1], color=colour, label=name)
            panel.set_ylim(-0.03, 1.03)
            label(panel, outcome.arm, "operations of one seed", "share of seeds without the whole task")
            add_legend(panel)
        for panel in axes[len(outcomes) :]:
            panel.set_visible(False)
        return figure

    def tabulate(self, results: Results) -> Sequence[Table]:
        """Every arm with its setting and three costs; every change against control and placebo; what the gate says."""
        arms = [result for result in results if result.cell.key.get("part") in ("arm", "placebo")]
        return tabulate_trial(arms, self.list_outcomes(results), self.teacher) if arms else []

    def judge(self, results: Results) -> Sequence[Claim]:
        """A verdict for each change."""
        return [
            Claim(f"{outcome.arm} makes it come sooner, at equal cost", outcome.verdict, outcome.why, ours=True)
            for outcome in self.list_outcomes(results)
        ]


def choose_setting(sweep: Mapping[Setting, Result]) -> Setting:
    """The setting with the most units learned over seeds; of equal ones that by which half of them came soonest."""
    return max(sorted(sweep), key=lambda setting: score_learning(sweep[setting]))


def describe_setting(setting: Setting) -> dict[str, float]:
    """The keys of `TrainingSpec` that it stands for."""
    return {"learning_rate": setting[0], "initialisation_scale": setting[1]}


def make_study(full: Trial, laptop: Trial | None = None, *, about: str = "") -> Study:
    """The study of a trial: its sweeps, then its arms, each with the setting that its sweep chooses."""

    def follow(results: Results, scale: str) -> list[Cell]:
        return (laptop if laptop and scale == "laptop" else full).list_reported(results)

    return Study(
        cells=full.list_sweeps(),
        laptop=laptop.list_sweeps() if laptop else (),
        draw=full.draw,
        judge=full.judge,
        tabulate=full.tabulate,
        follow=follow,
        about=about,
    )
