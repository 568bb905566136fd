"""A study whose cells race: trained in rounds, resumed anywhere, replayed from what is kept."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.studies.arms import make_spec, solve

from saltus import api
from saltus.api.shelves import StudyShelf, WatchedStudy
from saltus.errors import SaltusError
from saltus.live.shelf import Glimpse
from saltus.measure.race import Order, RaceBy
from saltus.report.html.blocks import Table
from saltus.specs import RunSpec, ScheduleSpec
from saltus.studies.cells import Cell
from saltus.studies.contest import Contest, list_architectures, make_study
from saltus.studies.gate import choose_steady
from saltus.studies.race import Race, carry_out
from saltus.studies.race_words import describe_race, write_race
from saltus.studies.results import Results
from saltus.studies.sources import RunFolders, open_source, read_results, take_cells
from saltus.studies.study import Study, load_study
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]

STUDY = '''"""Learning rates race."""
from saltus import *

def make(rate):
    training = TrainingSpec(
        steps=60, batch_sequences=8, compile=False, evaluation_sequences=16, learning_rate=rate, warmup=1,
        evaluate=ScheduleSpec(every=4), patterns=False, stop_when_solved=True,
    )
    model = TransformerSpec(d_model=8, heads=2, d_mlp=16)
    rule = EmergenceSpec(threshold=0.04, hold=2)
    task = LinearMapSpec(size=4, sparsity=1)
    return Cell(rate=rate, run=RunSpec(task=task, model=model, training=training, emergence=rule, seeds=4))

study = Study(cells=[make(rate) for rate in (1e-5, 2e-2, 5e-2)], race=Race(first_seeds=2, margin=1.1, error=0.5))
'''


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "rates.py"
    path.write_text(STUDY)
    return path


def run(saltus: Saltus, study: Path, out: Path, *options: str) -> str:
    code, said, error = saltus("run", study, "--out", out, "--device", "cpu", *options)
    assert (code, error) == (0, "")
    return said


def read_race(page: Path) -> str:
    """The section of the race."""
    return page.read_text().partition("**The race")[2].partition("<details>")[0]


def test_a_race_ends_the_same_whatever_kills_it_and_the_full_grid_replays_it(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kill(BaseException):
        pass

    said = run(saltus, study, tmp_path / "unbroken")
    assert "the race: 0 rounds, 3 of 3 cells left; next 2 seeds of each" in said
    expected = read_race(tmp_path / "unbroken" / "rates" / "rates.md")
    assert "rate-1e-05 (" in expected
    assert "The full grid was not trained" in expected
    commit, commits = RunFolder.commit, 0

    def kill(self: RunFolder, *arguments: Any) -> None:
        nonlocal commits
        commits += 1
        if commits % 15 == 0:
            raise Kill
        commit(self, *arguments)

    monkeypatch.setattr(RunFolder, "commit", kill)
    kills, seen = 0, list[Glimpse]()
    shelf = StudyShelf(WatchedStudy(study, tmp_path / "broken"))
    while True:
        try:
            run(saltus, study, tmp_path / "broken")
            break
        except Kill:
            kills += 1
            status = saltus("status", study, "--out", tmp_path / "broken")[1]
            seen += shelf.look()
            assert seen[-1].what in " ".join(status.split())
    monkeypatch.setattr(RunFolder, "commit", commit)
    assert kills > 2
    assert read_race(tmp_path / "broken" / "rates" / "rates.md") == expected
    # A page that was open all along has seen the rounds go by.
    rounds = [int(told[1]) for each in seen if (told := re.match(r"the race: (\d+) rounds", each.what))]
    assert len(rounds) == kills
    assert rounds == sorted(rounds)
    assert rounds[0] < rounds[-1]
    assert len({each.version for each in seen}) > 2
    (last,) = shelf.look()
    assert (last.kind, last.state) == ("race", "finished")
    (section,) = shelf.describe(last.key)
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    places = {str(row.cells[0]): str(row.cells[1]) for row in table.rows}
    assert re.match(r"dropped in round \d: \d+.\d\d times as slow, limit ", places["rate-1e-05"])
    (best,) = (row for row in table.rows if row.strong)
    assert f"{best.cells[0]} leads" in section.headline
    # What was dropped has been trained no further.
    loaded = load_study(study)
    going, gone = take_cells(loaded, list(loaded.cells), RunFolders(tmp_path / "broken"))
    assert going == gone
    slow = next(cell for cell in gone if cell.key["rate"] == 1e-5)
    assert slow.run.seeds < 4
    assert RunFolder.of(tmp_path / "broken", slow.run).spec().seeds == slow.run.seeds
    # Kept, and then with the full grid beside it: the same race.
    kept = tmp_path / "results" / "records"
    assert api.keep_results(loaded, tmp_path / "broken", kept) == 3
    assert saltus("figures", study, "--out", kept)[0] == 0
    assert read_race(kept.parent / "rates.md") == expected
    run(saltus, study, tmp_path / "broken", "--grid")
    assert api.keep_results(loaded, tmp_path / "broken", kept) == 3
    whole = {result.name: result.cell.run for result in read_results(loaded, open_source(kept))}
    assert {name: (spec.seeds, spec.training.steps) for name, spec in whole.items()} == dict.fromkeys(whole, (4, 60))
    assert saltus("figures", study, "--out", kept)[0] == 0
    replayed = read_race(kept.parent / "rates.md")
    assert replayed.partition("It took ")[0] == expected.partition("It took ")[0]
    spent = re.findall(r"It took ([0-9,]+) seed-steps", expected + replayed)
    assert len(set(spent)) == 1
    assert re.search(r"[0-9]+% of the [0-9,]+ of the full grid .* which agrees|which does not agree", replayed)


ON_SCHEDULE: dict[str, Any] = {
    "evaluate": ScheduleSpec(first=100, every=100),
    "patterns": False,
    "stop_when_solved": True,
}
"""With these, invented records have the steps of a run."""


def make_cells(number: int = 3, seeds: int = 6, **key: Any) -> list[Cell]:
    """Cells that differ in their learning rate."""
    specs = [make_spec(seeds, name=f"arm-{n}", learning_rate=1e-3 * (n + 1), **ON_SCHEDULE) for n in range(number)]
    return [Cell(arm=spec.name, **key, run=spec) for spec in specs]


def invent(cells: list[Cell], solved_at: Sequence[Sequence[int | None]]) -> Results:
    """Full records of cells, each seed solving at a step."""
    return Results([solve(cell, steps) for cell, steps in zip(cells, solved_at, strict=True)], cells)


def test_the_page_says_whether_the_full_grid_agrees() -> None:
    cells = make_cells()
    (heat,) = Race(first_seeds=3, error=0.9, margin=1.1).list_heats(cells)
    fast, slow = [100, 200, 300, 100, 200, 300], [800, 900, 800, 900, 800, 900]
    results = invent(cells, [slow, fast, slow])
    history = heat.follow(results.find)
    assert (history.leader, history.ended) == ("arm-1", "the best is known")
    assert {drop.arm for drop in history.drops} == {"arm-0", "arm-2"}
    told = write_race(heat, results.find)
    assert "the best is known, arm-1" in told
    assert "The best of the full grid is arm-1, which agrees." in told
    assert "arm-1 (6 of 6, median 200), arm-0 (6 of 6, median 800)" in told
    # The first seeds mislead: those that follow would have been better.
    first, last = [100, 300, 200], [900, 900, 900]
    results = invent(cells, [first + last, [400, 500, 300, 300, 200, 200], slow])
    told = write_race(heat, results.find)
    assert "The best of the full grid is arm-1, **which does not agree**." in told
    assert describe_race(heat, heat.follow(results.find)) == (
        f"the race: {len(heat.follow(results.find).rounds)} rounds, 1 of 3 cells left, arm-0 leads; the best is known"
    )


@pytest.mark.parametrize("by", ["median step", "solve share"])
def test_nobody_leads_where_no_seed_has_solved(by: RaceBy) -> None:
    cells = make_cells()
    (heat,) = Race(by=by, first_seeds=3).list_heats(cells)
    results = invent(cells, [[None] * 6] * 3)
    history = heat.follow(results.find)
    assert (history.leader, history.ended, history.drops) == (None, "the seeds are spent", ())
    told = write_race(heat, results.find)
    assert "the seeds are spent, and none has solved" in told
    assert "In it no seed has solved either." in told
    assert "leads" not in told
    assert "agree" not in told


def test_the_grid_is_judged_by_the_measure_of_the_race() -> None:
    """Seeds that do not solve count as twice the best median, not as the budget, as in the race."""
    cells = make_cells(2, seeds=12)
    (heat,) = Race(first_seeds=12, error=0.9).list_heats(cells)
    results = invent(cells, [[200] * 8 + [None] * 4, [300] * 12])
    assert heat.follow(results.find).leader == "arm-0"
    assert "The best of the full grid is arm-0, which agrees." in write_race(heat, results.find)


def test_by_solve_share_who_solves_within_the_budget_is_ahead() -> None:
    cells = make_cells(2, seeds=12)
    (heat,) = Race(by="solve share", first_seeds=6, margin=0.5).list_heats(cells)
    results = invent(cells, [[None] * 12, [800] * 12])
    history = heat.follow(results.find)
    assert (history.leader, history.ended) == ("arm-1", "the best is known")
    (drop,) = history.drops
    assert (drop.arm, drop.excess) == ("arm-0", 1.0)
    assert "arm-0 (+1.00 of the seeds unsolved, limit " in write_race(heat, results.find)
    assert "by 0.5 of the seeds" in write_race(heat, results.find)


def test_an_order_is_carried_out_to_a_step_at_which_its_end_can_be_confirmed() -> None:
    cell = Cell(arm="one", run=make_spec(6))  # evaluated every 50 steps, and an emergence has to hold for two
    for until, steps in ((1.0, 2), (2.0, 4), (64.0, 150), (150.0, 200), (151.0, 250), (950.0, 1000), (1e9, 1000)):
        done = carry_out(cell, Order("one", 3, until)).run
        assert (done.seeds, done.training.steps) == (3, steps)
        assert done.prolongable
        assert cell.run.includes(done)


def test_cells_race_within_the_keys_that_they_share_and_a_contest_races_each_sweep() -> None:
    both = [*make_cells(2, task="a"), *(replace_name(cell) for cell in make_cells(2, task="b"))]
    heats = Race(within=("task",)).list_heats(both)
    assert [(heat.name, [cell.name for cell in heat.cells]) for heat in heats] == [
        ("task a", ["arm-0", "arm-1"]),
        ("task b", ["arm-0-b", "arm-1-b"]),
    ]
    cell = make_spec(4, **ON_SCHEDULE)
    arms = dict(list(list_architectures(layers=1, d_model=32, heads=4).items())[:2])
    contest = make_study(Contest(arms, {"s1": cell}, {"s1": cell}, race=Race(first_seeds=2, error=0.5)))
    assert contest.race is not None
    heats = contest.race.list_heats(contest.cells)
    assert [heat.name for heat in heats] == [f"arm {arm}, sweep s1" for arm in arms]
    assert {len(heat.cells) for heat in heats} == {3}
    # Nothing is reported before the races are over, and then the rate that won.
    found = [solve(each, [100] * 4 if each.key["rate"] == 1e-3 else [900] * 4) for each in contest.cells]
    assert len(contest.following(Results(found[:-1]))) == 2
    assert {c.run.training.learning_rate for c in contest.following(Results(found))} == {1e-3}


def replace_name(cell: Cell) -> Cell:
    return Cell(run=RunSpec.model_validate(cell.run.model_dump() | {"name": f"{cell.name}-b"}), arm="b", task="b")


def test_a_rate_that_a_race_has_dropped_is_not_chosen() -> None:
    few, many = (make_spec(n, **ON_SCHEDULE) for n in (2, 4))
    sweep = {
        (1e-3, 1.0): solve(Cell(run=few), [100, 100]),
        (3e-3, 1.0): solve(Cell(run=many), [300, 300, 300, None]),
    }
    assert choose_steady(sweep) == (3e-3, 1.0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"by": "speed"}, "by is 'speed'; allowed are median step, solve share"),
        ({"margin": 0.5}, "margin is 0.5; allowed is a ratio above 1"),
        ({"by": "solve share", "margin": 1.3}, "allowed is a ratio above 1, or a difference of shares below 1"),
        ({"error": 0.0}, "error is 0.0"),
    ],
)
def test_a_race_of_wrong_rules_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(SaltusError, match=f"race: .*{told}"):
        Race(**values).list_heats(make_cells())[0].follow(lambda _: None)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (make_cells(1), "has 1 cell"),
        (make_cells(2, seeds=1), "with 1 seeds and 1000 steps; allowed are two or more"),
        ([*make_cells(1), *make_cells(2, seeds=3)[1:]], "with 3 seeds and 1000 steps, 6 seeds and 1000 steps"),
        ([Cell(run=make_spec(3, name=name, decay="cosine")) for name in "ab"], "its learning rate falls over all"),
    ],
)
def test_cells_that_cannot_race_are_refused(cells: list[Cell], told: str) -> None:
    named = [Cell(place=place, run=cell.run) for place, cell in enumerate(cells)]
    with pytest.raises(SaltusError, match=told):
        Study(named, race=Race())
