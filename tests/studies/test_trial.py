"""A trial: what is swept and reported, and each verdict from invented records."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.studies.arms import STEPS, make_spec, solve

from saltus.errors import SaltusError
from saltus.measure.intervals import Estimate
from saltus.specs import DistillationSpec, RunSpec, SizePhase, SparsityPhase
from saltus.studies.cells import Cell, vary_run
from saltus.studies.claims import Verdict
from saltus.studies.flops import price_run
from saltus.studies.outcome import price_median, say_estimate
from saltus.studies.results import Result, Results
from saltus.studies.study import Study, load_study
from saltus.studies.trial import CONTROL, SWEPT, Trial, make_study
from saltus.train.flops import count_flops, count_spent
from saltus.train.measures import PHASES

SEEDS = 12
EARLY, LATE = [400, 500] * 6, [700, 800] * 6
NEVER: list[int | None] = [None] * SEEDS


def make_trial(**values: object) -> Trial:
    spec = make_spec(SEEDS)
    changed = spec.model_copy(update={"training": spec.training.model_copy(update={"warmup": 7})})
    placebo = spec.model_copy(update={"training": spec.training.model_copy(update={"warmup": 8})})
    usual = {"changes": {"trick": changed}, "placebos": {"trick": placebo}, "scales": (0.5, 1.0), "sweep_seeds": 2}
    return Trial(spec, **(usual | values))  # type: ignore[arg-type]


def follow(
    trial: Trial,
    control: Sequence[int | None],
    trick: Sequence[int | None],
    placebo: Sequence[int | None] | None,
    *,
    best: float = 1e-3,
) -> Results:
    """All sweeps, which learn at one rate alone, and then the arms with these steps."""
    sweeps = [solve(cell, [500, 500] if cell.key.get("rate") == best else [None, None]) for cell in trial.list_sweeps()]
    reported = trial.list_reported(Results(sweeps))
    found: list[Result] = []
    for cell in reported:
        steps = control if cell.key["arm"] == CONTROL else trick if cell.key["part"] == "arm" else placebo
        if steps is not None:
            found.append(solve(cell, steps))
    return Results([*sweeps, *found])


def test_arms_are_swept_apart_and_run_at_their_own_best() -> None:
    trial = make_trial()
    sweeps = trial.list_sweeps()
    assert len(sweeps) == 2 * 3 * 2  # arms, rates, scales; a placebo takes the setting of its change
    assert {cell.run.master_seed for cell in sweeps} == {SWEPT}
    assert len({cell.run.run_id for cell in sweeps}) == len(sweeps)
    learned = {(CONTROL, 3e-4): [500, 500], ("trick", 1e-3): [500, 500]}
    results = Results(
        [solve(cell, learned.get((str(cell.key["arm"]), float(cell.key["rate"])), [None, None])) for cell in sweeps]
    )
    assert [(cell.name, cell.run.training.learning_rate) for cell in trial.list_reported(results)] == [
        (CONTROL, 3e-4),
        ("trick", 1e-3),
        ("trick-placebo", 1e-3),
    ]
    some = [result for result in results if result["arm"] == CONTROL]
    assert [cell.name for cell in trial.list_reported(Results(some))] == [CONTROL]


@pytest.mark.parametrize(
    ("control", "trick", "placebo", "verdict", "words"),
    [
        (LATE, EARLY, LATE, "reproduced", "over its placebo's"),
        (LATE, EARLY, EARLY, "in part", "not shown to be sooner than its placebo"),
        (EARLY, LATE, EARLY, "not reproduced", "operations over the control's 1."),
        (LATE, LATE, LATE, "not reproduced", "1.00"),
        ([100, 900] * 6, [200, 800] * 6, LATE, "open", "it takes more seeds"),
        (NEVER, NEVER, NEVER, "open", "unknown [0.00, no limit]"),
        (LATE, EARLY, None, "open", "its placebo was not run"),
    ],
)
def test_each_verdict(
    control: list[int | None],
    trick: list[int | None],
    placebo: list[int | None] | None,
    verdict: Verdict,
    words: str,
) -> None:
    trial = make_trial()
    (claim,) = trial.judge(follow(trial, control, trick, placebo))
    assert (claim.verdict, words in claim.why) == (verdict, True), claim.why


@pytest.mark.parametrize(
    ("values", "best", "words"),
    [
        ({"scales": (1.0,)}, 1e-3, "own best initialisation (control was swept over 1"),
        ({"rates": (1e-3, 3e-3)}, 1e-3, "own best rate (control was swept over 2"),
        ({}, 3e-3, "best at the edge of its sweep, 0.003"),
        ({}, 1.0, "learned nothing in its sweep"),
    ],
)
def test_no_winner_is_named_without_equal_sweeps(values: dict[str, object], best: float, words: str) -> None:
    trial = make_trial(**values)
    (claim,) = trial.judge(follow(trial, LATE, EARLY, LATE, best=best))
    assert (claim.verdict, words in claim.why) == ("open", True), claim.why


def test_no_winner_is_named_at_another_cost() -> None:
    spec = make_spec(SEEDS)
    wide = spec.model_copy(update={"model": spec.model.model_copy(update={"d_model": 64})})
    trial = make_trial(changes={"trick": wide}, placebos={})
    (claim,) = trial.judge(follow(trial, LATE, EARLY, None))
    assert claim.verdict == "open"
    assert "1.5 times the operations" in claim.why


def test_no_winner_is_named_without_a_placebo() -> None:
    trial = make_trial(placebos={})
    (claim,) = trial.judge(follow(trial, LATE, EARLY, None))
    assert (claim.verdict, claim.why.endswith("sooner than the control, and there is no placebo")) == ("in part", True)


def test_operations_decide_and_not_steps() -> None:
    """Twice the batch in three quarters of the steps is 1.5 times the operations."""
    spec = make_spec(SEEDS)

    def change(**training: float) -> RunSpec:
        return spec.model_copy(update={"training": spec.training.model_copy(update=training)})

    trial = make_trial(changes={"trick": change(batch_sequences=16, steps=700)}, placebos={})
    control, trick = change(), trial.changes["trick"]
    assert count_flops(trick) == 2 * count_flops(control)
    results = follow(trial, [800] * SEEDS, [600] * SEEDS, None)
    (outcome,) = trial.list_outcomes(results)
    assert outcome.ratio.value == pytest.approx(2 * 550 / 750, rel=0.02)  # medians lie within their cells
    assert outcome.verdict == "not reproduced"
    assert price_run(trick, 10).tokens == 10 * 16 * spec.task.tokens


def test_late_seeds_pay_for_the_steps_that_they_took_and_not_for_mean_ones() -> None:
    """Half of the seeds come in a first phase of short sequences; the others paid whole steps after it."""
    spec = make_spec(SEEDS)
    short = spec.model_copy(update={"curriculum": (SizePhase(tokens=5, steps=500),)})
    trial = make_trial(changes={"trick": short}, placebos={})
    early, late = [500] * 7 + [900] * 5, [800] * SEEDS
    (outcome,) = trial.list_outcomes(follow(trial, late, early, None))
    assert outcome.ratio.upper == pytest.approx(price_run(short, 900).operations / price_run(spec, 700).operations)
    assert outcome.ratio.lower == pytest.approx(price_run(short, 400).operations / price_run(spec, 800).operations)


@pytest.mark.parametrize(
    ("checkpoint", "verdict", "words"),
    [(20, "reproduced", "its teacher's training 0."), (5_000, "in part", "its teacher has to be trained first")],
)
def test_a_teacher_is_no_free_gift(checkpoint: int, verdict: Verdict, words: str) -> None:
    spec = make_spec(SEEDS)
    teacher = vary_run(spec, training={"steps": 5_000}, name="teacher")

    def learn(step: int) -> RunSpec:
        way = DistillationSpec(teacher=teacher.run_id, checkpoints=(step,), until=50)
        return vary_run(spec, training={}, intervention=way)

    trial = make_trial(changes={"trick": learn(checkpoint)}, placebos={"trick": learn(0)}, teacher=teacher)
    (outcome,) = trial.list_outcomes(results := follow(trial, [900] * SEEDS, [300] * SEEDS, [900] * SEEDS))
    assert (outcome.verdict, words in outcome.why) == (verdict, True), outcome.why
    step, (_, effects, _) = count_flops(teacher), trial.tabulate(results)
    most = (trial.changes["trick"], spec)
    assert outcome.with_teacher is not None
    assert outcome.with_teacher.upper == pytest.approx(
        (price_run(most[0], 300, teacher).operations + checkpoint * step) / price_run(most[1], 800).operations
    )
    assert effects.rows[0][3] == say_estimate(outcome.with_teacher)


def test_tables_and_the_figure_say_every_arm() -> None:
    trial = make_trial()
    results = follow(trial, LATE, EARLY, NEVER)
    costs, effects, gate = trial.tabulate(results)
    assert [row[0] for row in costs.rows] == [CONTROL, "trick", "trick (placebo)"]
    assert costs.rows[2][4].startswith("> ")  # a median beyond the budget is no number
    assert len(effects.rows) == 1
    assert [row[2] for row in gate.rows] == ["yes", "yes", "yes"]
    (panel,) = [axes for axes in trial.draw(results).axes if axes.get_visible()]
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()) for line in panel.lines}
    assert drawn["with the change"][-1] == 0.0
    assert drawn["placebo"].min() == 1.0
    assert trial.tabulate(Results([])) == []
    assert trial.judge(Results([])) == []


def test_a_trial_without_a_change_is_refused() -> None:
    with pytest.raises(SaltusError, match="it needs a change that is not named 'control'"):
        make_trial(changes={}, placebos={})
    with pytest.raises(SaltusError, match="placebos of changes alone"):
        make_trial(placebos={"other": make_spec()})
    with pytest.raises(SaltusError, match="there are no rates or no scales"):
        make_trial(rates=())


def test_runs_of_one_name_are_refused() -> None:
    spec = make_spec()
    with pytest.raises(SaltusError, match="two of its runs would be named 'trick-placebo'; give a change another name"):
        make_trial(changes={"trick": spec, "Trick placebo": spec})
    with pytest.raises(SaltusError, match="would be named 'control'"):
        make_trial(changes={"Control": spec}, placebos={})


@pytest.mark.parametrize("part", ["changes", "placebos"])
def test_a_teacher_that_is_not_priced_is_refused(part: str) -> None:
    teacher = make_spec()
    taught = vary_run(teacher, training={}, intervention=DistillationSpec(teacher=teacher.run_id, checkpoints=(10,)))
    with pytest.raises(SaltusError, match=f"learns from {teacher.run_id}, and the teacher is not given; give it as"):
        make_trial(**{part: {"trick": taught}})
    with pytest.raises(SaltusError, match=f"learns from {teacher.run_id}, and the teacher is other; give it as"):
        make_trial(**{part: {"trick": taught}}, teacher=vary_run(teacher, training={}, name="other"))
    assert make_trial(**{part: {"trick": taught}}, teacher=teacher).teacher == teacher


def test_cells_that_follow_have_names_of_their_own() -> None:
    first = Cell(arm="a", run=make_spec().model_copy(update={"name": "a"}))
    study = Study(cells=[first], follow=lambda results, scale: [Cell(arm="b", run=first.run)])
    with pytest.raises(SaltusError, match="`follow`: the name 'a' is given to more than one cell"):
        study.following(Results([]))


def test_a_study_follows_its_sweeps() -> None:
    trial = make_trial()
    study = make_study(trial)
    assert [cell.name for cell in study.following(follow(trial, LATE, EARLY, LATE))] == [
        CONTROL,
        "trick",
        "trick-placebo",
    ]


def test_the_trial_of_docs_sooner_is_a_study(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sooner.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "own.py").write_text(block, encoding="utf-8")
    cells = load_study(tmp_path / "own.py").cells
    assert len(cells) == 2 * 3 * 2
    assert {bool(cell.run.interventions) for cell in cells if cell.key["arm"] == "repetition"} == {True}
    (block,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    phased = RunSpec.model_validate(cells[0].run.model_dump() | tomllib.loads(block))
    assert phased.curriculum == (SparsityPhase(keys=1, steps=300, until_solved=1.0),)


def test_what_phases_cost_is_counted_since_the_start_and_for_each_seed_as_it_went() -> None:
    """Emergence in tokens of a run that begins with shorter sequences is less than its steps times the target's."""
    spec = make_spec(2)
    short = SizePhase(tokens=6, steps=400)
    fixed = spec.model_copy(update={"curriculum": (short,)})
    cost, late = price_median(solve(Cell(run=fixed), [500, 500]))
    assert not late
    assert cost.tokens == 8 * (400 * 6 + (cost.steps - 400) * 8) < cost.steps * 8 * 8
    assert cost.operations == 400 * count_flops(spec, 6) + (cost.steps - 400) * count_flops(spec)

    opened = spec.model_copy(update={"curriculum": (short.model_copy(update={"until_solved": 1.0}),)})
    result = solve(Cell(run=opened), [500, 500])
    rows = [
        {"seed": seed, "step": int(step)}
        | count_spent(opened, int(step), starts)._asdict()
        | {"phase": 1, "solved": 1.0}
        for seed, starts in enumerate([[0, 100], [0, 300]])
        for step in STEPS
    ]
    tables = {**result.records.tables, "phases": pa.Table.from_pylist(rows, schema=PHASES.schema)}
    result = replace(result, records=replace(result.records, tables=tables))
    cost, _ = price_median(result)
    assert cost.tokens == pytest.approx(8 * (200 * 6 + (cost.steps - 200) * 8))  # 200 steps is the mean
    assert result.price(1100).tokens == pytest.approx(8 * (200 * 6 + 900 * 8))  # after the last evaluation


@pytest.mark.parametrize(
    ("value", "lower", "upper", "said"),
    [
        (0.52, 0.41, 0.7, "0.52 [0.41, 0.70]"),
        (1.5, 0.9, np.inf, "1.50 [0.90, no limit]"),
        (0.0, 0.0, 0.21, "at most 0.21"),  # the other arm's median did not come
        (np.inf, 1.25, np.inf, "at least 1.25"),  # its own did not
        (None, 0.0, np.inf, "unknown [0.00, no limit]"),
        (0.0, 0.0, np.inf, "unknown [0.00, no limit]"),
        (np.inf, 0.0, np.inf, "unknown [0.00, no limit]"),
    ],
)
def test_a_ratio_to_what_never_comes_is_a_limit(value: float | None, lower: float, upper: float, said: str) -> None:
    assert say_estimate(Estimate(value, lower, upper, 0.95)) == said
