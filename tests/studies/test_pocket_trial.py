"""A trial of pocket suites: what is swept and reported, its verdict, what is kept, and the page of one that is run."""

import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from saltus import api
from saltus.curves import Curve, Key, Rule
from saltus.errors import SaltusError
from saltus.specs import RepeatSpec
from saltus.specs.capabilities import RepetitionSpec
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec
from saltus.specs.pocket_interventions import PocketDistillationSpec
from saltus.studies.claims import Claim
from saltus.studies.flops import price_pocket
from saltus.studies.page import write_page
from saltus.studies.pockets import PocketResult, measure_share, read_pockets, write_pockets
from saltus.studies.trial import CONTROL, SWEPT, Planned, PocketTrial

RULE = Rule(above=0.75, hold=2)
STEPS = np.arange(0, 401, 10)
POOL = RepeatSpec(sequences=64, probability=0.5)

SUITE = PocketSpec(
    name="control",
    models=(PocketModelSpec(name="m", layers=1, d_model=8, heads=2),),
    seeds=8,
    corpus=PeriodicCorpusSpec(vocabulary=12),
    length=8,
    batch=4,
    steps=400,
    every=10,
)


def make_trial() -> PocketTrial:
    return PocketTrial(
        SUITE,
        changes={"pool": SUITE.vary(intervention=POOL)},
        placebos={"pool": SUITE.vary(intervention=POOL.model_copy(update={"source": "fresh"}))},
        rates=(1e-3, 2e-3, 4e-3),
        scales=(1.0, 2.0),
        sweep_seeds=2,
    )


def invent(planned: Planned[PocketSpec], came: Sequence[int]) -> PocketResult:
    """A seed for each step at which it came."""
    curves = tuple(
        Curve(Key("m", str(seed), "repetition"), STEPS, (step <= STEPS).astype(float)) for seed, step in enumerate(came)
    )
    return PocketResult(planned.key, planned.run, measure_share(curves, RULE))


def measure(planned: Sequence[Planned[PocketSpec]]) -> list[PocketResult]:
    """All seeds come soonest at 0.002 and 2; the pool takes half of what the control and the placebo take."""
    results: list[PocketResult] = []
    for each in planned:
        setting = (each.run.learning_rate, each.run.initialisation_scale)
        first = {("pool", "arm"): 100}.get((str(each.key["arm"]), str(each.key["part"])), 200)
        late = 0 if setting == (2e-3, 2.0) else 100
        results.append(invent(each, [first + late + 10 * (seed % 3) for seed in range(each.run.seeds)]))
    return results


def test_each_arm_is_swept_and_then_run_at_its_best() -> None:
    trial = make_trial()
    results = trial.follow(measure)
    sweeps, reported = results[:12], results[12:]
    assert {(each.suite.master_seed, each.suite.seeds) for each in sweeps} == {(SWEPT, 2)}
    assert len({each.suite.content_hash for each in results}) == 15
    assert [each.suite.name for each in reported] == [CONTROL, "pool", "pool-placebo"]
    assert {(each.setting, each.suite.seeds, each.budget) for each in reported} == {((2e-3, 2.0), 8, 400)}
    assert [each.suite.intervention for each in reported] == [
        None,
        POOL,
        POOL.model_copy(update={"source": "fresh"}),
    ]


def test_its_verdict_is_by_operations_with_an_interval() -> None:
    trial = make_trial()
    results = trial.follow(measure)
    (claim,) = trial.judge(results)
    assert claim.verdict == "reproduced", claim.why
    (outcome,) = trial.list_outcomes(results)
    assert outcome.ratio.value == pytest.approx(0.5, abs=0.05)
    assert outcome.ratio.lower < 0.5 < outcome.ratio.upper < 1
    costs, _, gate = trial.tabulate(results)
    assert [row[0] for row in costs.rows] == [CONTROL, "pool", "pool (placebo)"]
    step, tokens = float(costs.rows[1][4]), float(costs.rows[1][5].replace(",", ""))
    assert 100 <= step <= 120
    assert tokens == pytest.approx(step * 4 * 8, rel=0.02)
    assert float(costs.rows[1][6]) == pytest.approx(price_pocket(SUITE, tokens / 32).operations, rel=0.02)
    assert [row[2] for row in gate.rows] == ["yes"] * 3


def test_results_are_kept_as_they_were(tmp_path: Path) -> None:
    results = make_trial().follow(measure)
    path = tmp_path / "records" / "kept.parquet"
    path.parent.mkdir()
    write_pockets(results, path)
    again = read_pockets(path, RULE)
    assert [(each.key, each.suite, list(each.tasks)) for each in again] == [
        (each.key, each.suite, list(each.tasks)) for each in results
    ]
    assert list(read_pockets(path, Rule(above=2.0))[0].learned) == [0, 0]
    assert read_pockets(tmp_path / "nothing.parquet", RULE) == []
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SaltusError, match=r"kept.parquet cannot be read .*; bring it back .* or delete it"):
        read_pockets(path, RULE)


def test_suites_are_trained_scanned_and_kept_once(tmp_path: Path) -> None:
    small = SUITE.vary(steps=6, every=3, seeds=2, length=16)
    planned = [Planned[PocketSpec]({"arm": CONTROL, "part": "arm"}, small)]
    asked, kept, lines = RepetitionSpec(prompts=8, tokens=4), tmp_path / "kept.parquet", Console(quiet=True)

    def run(out: str) -> list[PocketResult]:
        return api.measure_pockets(
            planned, capability=asked, rule=RULE, kept=kept, out=tmp_path / out, processes=1, console=lines
        )

    (first,) = run("pockets")
    assert [(curve.key, list(curve.steps)) for curve in first.measured] == [
        (Key("m", seed, "repetition"), [0, 1, 2, 3, 6]) for seed in ("0", "1")
    ]
    assert len(first.tasks) == 2
    assert [path.name for path in (tmp_path / "pockets").iterdir() if path.is_dir()] == []  # neither suite nor scan
    (again,) = run("other")
    assert not (tmp_path / "other").exists()
    assert [list(curve.values) for curve in again.measured] == [list(curve.values) for curve in first.measured]


def test_a_teacher_whose_suite_is_gone_is_trained_again_for_whom_it_teaches(tmp_path: Path) -> None:
    """As in a fresh copy of a repository, which has the kept curves and no suite."""
    asked, lines, kept = RepetitionSpec(prompts=8, tokens=4), Console(quiet=True), tmp_path / "kept.parquet"
    teacher = SUITE.vary(name="teacher", steps=2, every=1, seeds=1, length=16)
    learn = PocketDistillationSpec(teacher=teacher.identify("teacher"), size="m", checkpoints=(2,))
    student = teacher.vary(name="student", intervention=learn)
    planned = [Planned[PocketSpec]({"arm": run.name, "part": "arm"}, run) for run in (teacher, student)]
    for some, out in ((planned[:1], "first"), (planned, "second")):
        found = api.measure_pockets(
            some, capability=asked, rule=RULE, kept=kept, out=tmp_path / out, processes=1, console=lines
        )
    assert [each.suite.name for each in found] == ["teacher", "student"]


def test_what_a_user_trained_and_scanned_stays(tmp_path: Path) -> None:
    asked, lines = RepetitionSpec(prompts=8, tokens=4), Console(quiet=True)
    mine = SUITE.vary(steps=2, every=1, seeds=1, length=16)
    out = tmp_path / "pockets"
    root = api.pocket(mine, out=out, processes=1, console=lines)
    (root / "notes.txt").write_text("mine")
    planned = [Planned[PocketSpec]({"arm": CONTROL, "part": "arm"}, mine)]
    kept = tmp_path / "kept.parquet"
    api.measure_pockets(planned, capability=asked, rule=RULE, kept=kept, out=out, processes=1, console=lines)
    assert (root / "notes.txt").read_text() == "mine"
    assert [path.name for path in out.iterdir() if path.is_dir()] == [root.name]


def test_a_page_says_verdicts_figure_and_tables(tmp_path: Path) -> None:
    trial = make_trial()
    results = trial.follow(measure)
    claims: Sequence[Claim] = trial.judge(results)

    def write() -> Path:
        return write_page(
            "own",
            "Does it?",
            figure=trial.draw(results),
            claims=claims,
            tables=trial.tabulate(results),
            note="A note.",
            command="python own.py",
            to=tmp_path,
        )

    page = write().read_text(encoding="utf-8")
    assert page.startswith("<!-- Generated by `python own.py`, which replaces this file. -->\n# Does it?")
    assert "**in part**" in page  # of laptop size alone, which says no more
    assert "At laptop size alone" in page
    assert page.count("| pool (placebo) |") == 1
    assert (tmp_path / "own.png").read_bytes()[:4] == b"\x89PNG"
    (tmp_path / "own.md").write_text("mine", encoding="utf-8")
    with pytest.raises(SaltusError, match="was not generated by saltus"):
        write()


def test_the_study_of_language_models_can_be_planned() -> None:
    """Every arm has a placebo, and the gate what it asks for."""
    trial: PocketTrial = runpy.run_path(str(Path(__file__).parents[2] / "studies" / "language" / "sooner.py"))["TRIAL"]
    assert trial.placebos.keys() == trial.changes.keys()
    assert len(trial.rates) >= 3
    assert len(trial.scales) >= 2
    assert trial.control.seeds >= 8
    assert isinstance(trial.draw([]), Figure)
    assert len(trial.plan_sweeps()) == 1 + (1 + len(trial.changes)) * len(trial.settings)
