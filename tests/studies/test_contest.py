"""A contest: each arm is swept, then reported at its own best rate, and the gate sees what a leak does."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.studies.arms import make_arm, make_spec, make_sweeps, solve

from saltus import api
from saltus.errors import SaltusError
from saltus.specs import TransformerSpec
from saltus.specs.models import MODELS
from saltus.studies.cells import Cell, vary_run
from saltus.studies.contest import Contest, list_architectures, make_study
from saltus.studies.gate import check_comparison, choose_steady
from saltus.studies.results import Results
from saltus.studies.sources import RunFolders, list_cells, open_source, read_results
from saltus.studies.study import load_study
from saltus.studies.tables import write_gate
from saltus.train.folder import RunFolder

pytestmark = pytest.mark.usefixtures("in_this_process")

Saltus = Callable[..., tuple[int, str, str]]

STUDY = '''"""Running means, one of which looks ahead."""
import torch
from torch import nn
from saltus import CustomSpec, LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.studies.contest import Contest, make_study
from saltus.studies.claims import Claim

class RunningMean(nn.Module):
    def __init__(self, d_model, queries, leak=False):
        super().__init__()
        self.value = nn.Linear(d_model, d_model)
        self.leak = leak

    def forward(self, x):
        value = self.value(x)
        if self.leak:  # [n, q, m] read as [n, m, q]: positions are mixed
            value = value.reshape(len(x), x.shape[2], x.shape[1]).transpose(1, 2)
        return value.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]

def make_cell(sparsity, seeds):
    return RunSpec(
        name="cell",
        task=LinearMapSpec(size=4, sparsity=sparsity),
        model=TransformerSpec(d_model=16, heads=2),
        training=TrainingSpec(
            steps=80, batch_sequences=16, compile=False, evaluate=ScheduleSpec(every=20), evaluation_sequences=64
        ),
        seeds=seeds,
    )

cells = {"s1": make_cell(1, seeds=2)}
contest = Contest(
    {
        "mean": CustomSpec.of(RunningMean, d_model=16),
        "leaky": CustomSpec.of(RunningMean, d_model=16, options={"leak": True}),
    },
    cells,
    sweeps={"s1": make_cell(1, seeds=1)},
)

def judge(results):
    return [Claim("the mean wins", "reproduced", "it is written here")]

study = make_study(contest, judge=judge)
'''


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "means.py"
    path.write_text(STUDY)
    return path


def test_it_runs_whole_and_the_gate_catches_the_leak(study: Path, tmp_path: Path, saltus: Saltus) -> None:
    out, kept = tmp_path / "runs", tmp_path / "results" / "records"
    code, said, error = saltus("run", study, "--out", out, "--device", "cpu")
    assert (code, error) == (0, "")
    names = [name for line in said.splitlines() if (name := re.match(r"records: .*/(.+)-[0-9a-f]{10}$", line))]
    assert [name[1] for name in names[:6]] == [
        f"{arm}-sweep-s1-{rate}" for arm in ("mean", "leaky") for rate in ("0.0003", "0.001", "0.003")
    ]
    assert [name[1] for name in names[6:]] == [f"{arm}-{cell}" for arm in ("mean", "leaky") for cell in ("s1", "noise")]
    loaded = load_study(study)
    results = read_results(loaded, RunFolders(out))
    for arm in ("mean", "leaky"):
        sweep = {result.setting: result for result in results.where(arm=arm, sweep="s1")}
        assert list(sweep) == [(3e-4, 1.0), (1e-3, 1.0), (3e-3, 1.0)]
        for cell in ("s1", "noise"):
            result = results.get(arm=arm, cell=cell)
            assert result
            assert result.setting == choose_steady(sweep)
        assert {result.cell.run.master_seed for result in sweep.values()} == {1000}
    # From what is kept, as from the runs themselves.
    assert api.keep_results(loaded, out, kept) == 10
    for place in (out, kept):
        assert loaded.arms is not None
        found = loaded.arms(read_results(loaded, open_source(place)))
        checks = {check.name: check for check in check_comparison(found)}
        noise = checks["targets of pure noise stay at chance"]
        future = checks["no token moves a prediction before it"]
        assert (noise.passed, future.passed) == (False, False)
        gains = {arm.name: arm for arm in found}
        assert gains["mean"].future == 0.0
        assert (gains["leaky"].future or 0.0) > 0.05
        assert float(re.findall(r"leaky \+([0-9.]+)", noise.why)[0]) > 0.1
        assert all(abs(float(gain)) < 0.01 for gain in re.findall(r"mean ([+-][0-9.]+)", noise.why))
        honest = check_comparison([gains["mean"]])
        assert [check.passed for check in honest[:2]] == [True, True]
    assert saltus("figures", study, "--out", kept)[0] == 0
    page = next(p for p in kept.parent.glob("*.md") if p.name != "README.md").read_text()
    assert "**This comparison fails the validity gate**" in page
    assert "| the mean wins | **open** | it is written here. The gate fails: targets of pure noise" in page
    assert "| leaky | " in page
    assert "all 10 runs are finished" in saltus("status", study, "--out", out)[1]


def test_only_a_part_of_it_can_be_run(study: Path, tmp_path: Path, saltus: Saltus) -> None:
    out = tmp_path / "runs"
    assert saltus("run", study, "--only", "mean-s1", "--out", out, "--device", "cpu")[::2] == (
        2,
        "error: only: 'mean-s1' is in the name of no run that can be trained; means starts with "
        + ", ".join(f"{arm}-sweep-s1-{rate}" for arm in ("mean", "leaky") for rate in (0.0003, 0.001, 0.003))
        + "\n",
    )
    assert saltus("run", study, "--only", "mean-sweep", "--out", out, "--device", "cpu")[0] == 0
    assert saltus("run", study, "--only", "mean-s1", "--out", out, "--device", "cpu")[0] == 0
    cells = list_cells(load_study(study), "full", RunFolders(out))
    there = [cell.name for cell in cells if RunFolder(out / cell.run.run_id).finished]
    assert there == ["mean-sweep-s1-0.0003", "mean-sweep-s1-0.001", "mean-sweep-s1-0.003", "mean-s1"]


def test_the_example_of_the_documentation_runs(tmp_path: Path, saltus: Saltus) -> None:
    text = (Path(__file__).parents[2] / "docs" / "own-mixer.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "own.py"
    code = code.replace("stop_when_solved=True", "compile=False").replace("rates=(1e-4, 3e-4, ", "rates=(3e-4, ")
    path.write_text(code.replace("3e-3, 1e-2)", "3e-3)"))
    loaded = load_study(path)
    out = tmp_path / "runs"
    code, _, error = saltus("run", path, "--steps", "4", "--seeds", "1", "--out", out, "--device", "cpu")
    assert (code, error) == (0, "")
    done = {name.rsplit("-", 1)[0] for name in (folder.name for folder in out.iterdir()) if name != "own"}
    assert {"static-s2", "static-s3", "static-noise", "attention-s3"} <= done
    specs = {folder.name: RunFolder(folder).spec() for folder in out.iterdir() if folder.name != "own"}
    mine = next(spec for spec in specs.values() if spec.name == "static-s3")
    assert "class StaticAttention" in mine.model.model_dump()["source"]
    assert [cell.name for cell in loaded.cells][:2] == ["attention-sweep-s2-0.0003", "attention-sweep-s2-0.001"]


def test_every_kind_of_model_takes_part() -> None:
    models = list_architectures(layers=2, d_model=16, heads=4)
    assert {model.kind for model in models.values()} == MODELS.keys() - {"custom"}
    assert {(model.layers, model.d_model) for model in models.values()} == {(2, 16)}


@pytest.mark.parametrize(
    "values",
    [{"arms": {"one": TransformerSpec()}}, {"cells": {}}, {"rates": (1e-3, 3e-3, 1e-3)}],
)
def test_nothing_to_compare_is_refused(values: dict[str, Any]) -> None:
    arms = list_architectures(layers=1, d_model=32, heads=4)
    cell = make_spec()
    usual: dict[str, Any] = {"arms": arms, "cells": {"s1": cell}, "sweeps": {"s1": cell}, "rates": (1e-4, 1e-3, 1e-2)}
    assert len(Contest(**usual).list_sweeps()) == 27
    with pytest.raises(SaltusError, match="needs two arms, a cell and three rates"):
        Contest(**(usual | values))


def test_a_cell_takes_the_rate_of_its_own_sweep_or_of_the_last_easier_one() -> None:
    cell = make_spec()
    arms = dict(list(list_architectures(layers=1, d_model=32, heads=4).items())[:2])
    contest = Contest(arms, {"a": cell, "b": cell, "c": cell}, {"a": cell, "c": cell})
    sweeps = contest.list_sweeps()
    assert [cell.name for cell in sweeps] == [
        f"{arm}-sweep-{of}-{rate:g}" for of in "ac" for arm in arms for rate in (3e-4, 1e-3, 3e-3)
    ]
    best = {"transformer-sweep-a-0.001", "transformer-sweep-c-0.0003", "mlp-mixer-sweep-a-0.003"}
    done = [cell for cell in sweeps if not cell.fits({"arm": "mlp-mixer", "sweep": "c"})]
    results = [solve(cell, [500 if cell.name in best else None]) for cell in done]
    chosen = {cell.name: cell.run.training.learning_rate for cell in contest.list_reported(Results(results))}
    # The mixer's sweep at the hardest cell is not there, so that cell waits.
    assert chosen == {
        "transformer-a": 1e-3,
        "transformer-noise": 1e-3,
        "transformer-b": 1e-3,
        "transformer-c": 3e-4,
        "mlp-mixer-a": 3e-3,
        "mlp-mixer-noise": 3e-3,
        "mlp-mixer-b": 3e-3,
    }
    # Reported all the same, by a contest of fewer sweeps: it is judged by the one that was there.
    reported = [solve(Cell(arm=arm, cell="c", run=cell), [500]) for arm in arms]
    judged = {arm.name: arm.sweeps["c"] for arm in contest.list_arms(Results(results + reported))}
    for arm, sweep in (("transformer", "c"), ("mlp-mixer", "a")):
        assert list(judged[arm]) == [(3e-4, 1.0), (1e-3, 1.0), (3e-3, 1.0)]
        assert list(judged[arm].values()) == list(Results(results).where(arm=arm, sweep=sweep))


def test_initialisations_are_swept_with_the_rates() -> None:
    arms, cell = dict(list(list_architectures(layers=1, d_model=32, heads=4).items())[:2]), make_spec(2)
    contest = Contest(arms, {"a": cell}, {"a": cell}, scales=(1.0, 3.0))
    sweeps = contest.list_sweeps()
    assert [each.name for each in sweeps if each.key["arm"] == "transformer"] == [
        f"transformer-sweep-a-{rate:g}-{scale:g}" for rate in (3e-4, 1e-3, 3e-3) for scale in (1.0, 3.0)
    ]
    best = {"transformer-sweep-a-0.001-3", "mlp-mixer-sweep-a-0.001-1"}
    results = [solve(each, [500 if each.name in best else None, None]) for each in sweeps]
    assert contest.list_reported(Results(results[:-1])) == contest.list_reported(Results(results))[:2]
    reported = [each for each in contest.list_reported(Results(results)) if each.key["cell"] == "a"]
    chosen = {each.key["arm"]: each.run.training for each in reported}
    assert {arm: (found.learning_rate, found.initialisation_scale) for arm, found in chosen.items()} == {
        "transformer": (1e-3, 3.0),
        "mlp-mixer": (1e-3, 1.0),
    }
    # Run at another initialisation than its best one, an arm fails.
    wrong = [
        Cell(arm=each.key["arm"], cell="a", run=vary_run(each.run, training={"initialisation_scale": 1.0}))
        for each in reported
    ]
    judged = contest.list_arms(Results(results + [solve(each, [500, 500]) for each in wrong]))
    checks = {check.name: check for check in check_comparison(judged)}
    assert checks["each arm has its own best learning rate"].why == (
        "transformer (a) is reported at 0.001 and an initialisation of 1, its best is 0.001 and an initialisation of 3"
    )


def test_what_follows_is_of_the_scale_of_its_sweeps() -> None:
    arms = dict(list(list_architectures(layers=1, d_model=32, heads=4).items())[:2])
    full, laptop = (Contest(arms, {"a": cell}, {"a": cell}) for cell in (make_spec(3), make_spec(1, steps=500)))
    study = make_study(full, laptop)
    for scale, steps in (("full", 1000), ("laptop", 500)):
        results = Results([solve(cell, [300]) for cell in study.at(scale)])
        following = study.following(results, scale)
        assert [(cell.key["arm"], cell.key["cell"]) for cell in following] == [
            (arm, cell) for arm in arms for cell in ("a", "noise")
        ]
        assert {cell.run.training.steps for cell in following if cell.key["cell"] == "a"} == {steps}
    assert make_study(full).scales == ["full"]


def test_a_sweep_of_no_cell_is_refused() -> None:
    cell = make_spec()
    arms = list_architectures(layers=1, d_model=32, heads=4)
    for sweeps, said in (({}, "no cell"), ({"s2": cell}, "s2"), ({"s1": cell, "s3": cell}, "s1, s3")):
        with pytest.raises(SaltusError, match=f"there are sweeps for {said}; allowed are its cells, s1, s2"):
            Contest(arms, {"s1": cell, "s2": cell}, sweeps)


def test_the_verdict_of_the_gate_says_where_it_fails() -> None:
    sweeps = make_sweeps({3e-4: None, 1e-3: None, 3e-3: None}) | {"easy": make_arm().sweeps["easy"]}
    arms = [make_arm("one"), make_arm("other", sweeps=sweeps)]
    assert "**This comparison fails the validity gate** for hard:" in write_gate(check_comparison(arms))
    leaky = [make_arm("one"), make_arm("other", sweeps=sweeps, future=1.0)]
    assert "**This comparison fails the validity gate**: its" in write_gate(check_comparison(leaky))
    assert "passes the validity gate: all 7" in write_gate(check_comparison([make_arm("one"), make_arm("other")]))
