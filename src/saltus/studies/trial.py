"""Does a change make a capability come sooner? Arms beside a control, each with its placebo, at equal cost.

First the control and every change are swept over learning rates and initialisations, on seeds that are not reported;
then each is run with what was best for it, and each placebo with what was best for its change. An arm is sooner only if
its median is, **in operations**, below both that of the control and that of its placebo, with an interval that says so.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Generic

from matplotlib.figure import Figure

from saltus.errors import SaltusError
from saltus.measure.bootstrap import bootstrap_emergences
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.specs.pocket import PocketSpec
from saltus.studies.cells import Cell, Keys, spell_name, vary_run
from saltus.studies.claims import Claim, Table
from saltus.studies.gate import Check, score_learning
from saltus.studies.outcome import Outcome, compare_cost, tabulate_trial
from saltus.studies.panels import OURS, THEIRS, add_shared_legend, label, open_panels
from saltus.studies.pockets import PocketResult
from saltus.studies.results import Results
from saltus.studies.study import Study
from saltus.studies.tried import S, Setting, Tried, describe_setting, find_tried

CONTROL = "control"

SWEPT = 1000
"""Added to the master seed of the sweeps: they see other maps and other seeds than are reported."""


@dataclass(frozen=True)
class Planned(Generic[S]):
    """What is to be trained, and the keys by which its result is found."""

    key: Keys
    run: S


@dataclass(frozen=True)
class BaseTrial(ABC, Generic[S]):
    """A control, and what is tried on it."""

    control: S
    changes: Mapping[str, S]
    """By name: the control with one thing changed."""
    placebos: Mapping[str, S] = field(default_factory=dict[str, S])
    """By the name of the change: as strong a change of the same kind, without what is said to help."""
    rates: Sequence[float] = (3e-4, 1e-3, 3e-3)
    scales: Sequence[float] = (1.0,)
    """Of the initialisation."""
    sweep_seeds: int = 4
    teacher: S | None = None
    """What distillations learn from; it is trained first, and what it costs is counted."""

    def __post_init__(self) -> None:
        if not self.changes or CONTROL in self.changes or not self.placebos.keys() <= self.changes.keys():
            raise SaltusError(
                f"trial: the changes are {', '.join(self.changes) or 'none'} and the placebos those of "
                f"{', '.join(self.placebos) or 'none'}; it needs a change that is not named {CONTROL!r}, and placebos "
                "of changes alone"
            )
        if not self.rates or not self.scales:
            raise SaltusError("trial: there are no rates or no scales; give one of each at least")
        names = [*map(spell_name, self.arms), *(spell_name(f"{arm}-placebo") for arm in self.placebos)]
        if repeated := [name for place, name in enumerate(names) if name in names[:place]]:
            raise SaltusError(f"trial: two of its runs would be named {repeated[0]!r}; give a change another name")
        taught = {
            each.needs
            for spec in (*self.arms.values(), *self.placebos.values())
            for each in spec.interventions
            if each.needs
        }
        if others := taught - ({self.teacher.identify(self.teacher.name)} if self.teacher else set()):
            raise SaltusError(
                f"trial: a run learns from {min(others)}, and the teacher is "
                f"{self.teacher.name if self.teacher else 'not given'}; give it as `teacher`, since what it costs is "
                "counted"
            )

    @staticmethod
    @abstractmethod
    def vary(spec: S, name: str, setting: Setting, **values: Any) -> S:
        """The description with another name, rate, scale of the initialisation, and other values."""

    @property
    def arms(self) -> dict[str, S]:
        """The control, then every change."""
        return {CONTROL: self.control, **self.changes}

    @property
    def settings(self) -> list[Setting]:
        """Every rate with every scale."""
        return list(product(self.rates, self.scales))

    def plan_sweeps(self) -> list[Planned[S]]:
        """The teacher, and the sweep: of each arm one for each setting."""
        teachers = [] if self.teacher is None else [Planned({"arm": "teacher", "part": "teacher"}, self.teacher)]
        return teachers + [
            Planned(
                {"arm": arm, "part": "sweep", "rate": rate, "scale_of_initialisation": scale},
                self.vary(
                    spec,
                    spell_name(f"{arm}-sweep-{rate:g}-{scale:g}"),
                    (rate, scale),
                    seeds=self.sweep_seeds,
                    master_seed=spec.master_seed + SWEPT,
                ),
            )
            for arm, spec in self.arms.items()
            for rate, scale in self.settings
        ]

    def plan_reported(self, results: Sequence[Tried[S]]) -> list[Planned[S]]:
        """What follows from the sweeps that are there: each arm, and its placebo, with its best setting."""
        planned: list[Planned[S]] = []
        for arm, spec in self.arms.items():
            sweep = self.find_sweep(arm, results)
            if len(sweep) < len(self.settings):
                continue
            best = choose_setting(sweep)
            planned.append(Planned({"arm": arm, "part": "arm"}, self.vary(spec, spell_name(arm), best)))
            if arm in self.placebos:
                placebo = self.vary(self.placebos[arm], spell_name(f"{arm}-placebo"), best)
                planned.append(Planned({"arm": arm, "part": "placebo"}, placebo))
        return planned

    def find_sweep(self, arm: str, results: Sequence[Tried[S]]) -> dict[Setting, Tried[S]]:
        """By setting, the results of an arm's sweep."""
        found = {
            (float(result.key["rate"]), float(result.key["scale_of_initialisation"])): result
            for result in find_tried(results, arm=arm, part="sweep")
        }
        return {setting: found[setting] for setting in self.settings if setting in found}

    def list_outcomes(self, results: Sequence[Tried[S]]) -> list[Outcome[S]]:
        """What became of every change whose run is there, beside the control."""
        control = _find(results, CONTROL, "arm")
        if control is None:
            return []
        outcomes: list[Outcome[S]] = []
        for arm in self.changes:
            changed, placebo = _find(results, arm, "arm"), _find(results, arm, "placebo")
            if changed is not None:
                checks = self._check(arm, changed, control, results)
                cost = changed.price(changed.budget, self.teacher)
                taught = cost.with_teacher > cost.operations
                outcomes.append(
                    Outcome(
                        arm,
                        changed,
                        compare_cost(control, changed, self.teacher),
                        None if placebo is None else compare_cost(placebo, changed, self.teacher),
                        arm in self.placebos,
                        tuple(checks),
                        compare_cost(control, changed, self.teacher, with_teacher=True) if taught else None,
                    )
                )
        return outcomes

    def _check(self, arm: str, changed: Tried[S], control: Tried[S], results: Sequence[Tried[S]]) -> list[Check]:
        """Whether the arm may be called a winner or a loser at all."""
        problems: dict[str, list[str]] = {"rate": [], "initialisation": []}
        for name, result in ((CONTROL, control), (arm, changed)):
            sweep = self.find_sweep(name, results)
            used = result.setting
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
        low, high = sorted(each.price(each.budget, self.teacher).operations for each in (control, changed))
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

    def draw(self, results: Sequence[Tried[S]]) -> Figure:
        """For each change the share of seeds still without, beside its placebo and the control, against operations."""
        outcomes = self.list_outcomes(results)
        columns = min(3, max(1, len(outcomes)))
        figure, axes = open_panels(columns, max(1, -(-len(outcomes) // columns)))
        for panel, outcome in zip(axes, outcomes, strict=False):
            shown = (
                (CONTROL, _find(results, CONTROL, "arm"), THEIRS, "-"),
                ("placebo", _find(results, outcome.arm, "placebo"), OURS[1], "--"),
                ("with the change", outcome.result, OURS[0], "-"),
            )
            for name, result, colour, dash in shown:
                if result is None:
                    continue
                steps = result.evaluated_steps.astype(float)
                without = bootstrap_emergences(result.tasks, Streams(0).generator("bootstrap"), draws=1)
                spent = [result.price(int(step), self.teacher).operations for step in steps]
                panel.plot(spent, without.estimate.survival_at(steps)[1], color=colour, linestyle=dash, label=name)
            panel.set_ylim(-0.03, 1.03)
            label(panel, outcome.arm, "operations of one seed", "share of seeds without the whole task")
        for panel in axes[len(outcomes) :]:
            panel.set_visible(False)
        add_shared_legend(figure)
        return figure

    def tabulate(self, results: Sequence[Tried[S]]) -> Sequence[Table]:
        """Every arm with its setting and three costs; every change against control and placebo; what the gate says."""
        arms = [result for result in results if result.key.get("part") in ("arm", "placebo")]
        return tabulate_trial(arms, self.list_outcomes(results), self.teacher) if arms else []

    def judge(self, results: Sequence[Tried[S]]) -> Sequence[Claim]:
        """A verdict for each change."""
        return [
            Claim(f"{outcome.arm}: it comes sooner, at equal cost", outcome.verdict, outcome.why, ours=True)
            for outcome in self.list_outcomes(results)
        ]


class Trial(BaseTrial[RunSpec]):
    """A trial of runs."""

    @staticmethod
    def vary(spec: RunSpec, name: str, setting: Setting, **values: Any) -> RunSpec:
        """As `BaseTrial.vary`."""
        return vary_run(spec, name=name, training=describe_setting(setting), **values)

    def list_sweeps(self) -> list[Cell]:
        """The cells of the sweep."""
        return _list_cells(self.plan_sweeps())

    def list_reported(self, results: Results) -> list[Cell]:
        """The cells that follow from the sweeps that are there."""
        return _list_cells(self.plan_reported(results))


class PocketTrial(BaseTrial[PocketSpec]):
    """A trial of pocket suites, each of one size."""

    @staticmethod
    def vary(spec: PocketSpec, name: str, setting: Setting, **values: Any) -> PocketSpec:
        """As `BaseTrial.vary`."""
        return spec.vary(name=name, **describe_setting(setting), **values)

    def follow(self, measure: Callable[[Sequence[Planned[PocketSpec]]], list[PocketResult]]) -> list[PocketResult]:
        """All results: of the sweeps, and of what follows from them."""
        sweeps = self.plan_sweeps()
        return measure([*sweeps, *self.plan_reported(measure(sweeps))])


def _list_cells(planned: Sequence[Planned[RunSpec]]) -> list[Cell]:
    keys: list[dict[str, Any]] = [dict(each.key) for each in planned]
    return [Cell(run=each.run, brief=True, **key) for each, key in zip(planned, keys, strict=True)]


def _find(results: Sequence[Tried[S]], arm: str, part: str) -> Tried[S] | None:
    """The one result of an arm; None if it has not been run."""
    return next(iter(find_tried(results, arm=arm, part=part)), None)


def choose_setting(sweep: Mapping[Setting, Tried[S]]) -> Setting:
    """The setting with the most units learned over seeds; of equal ones that by which half of them came soonest."""
    return max(sorted(sweep), key=lambda setting: score_learning(sweep[setting]))


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
