"""Tables: CSV, JSON lines and Parquet, long and wide, with columns that are named or guessed."""

import json
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ingest.files import write

import saltus
from saltus import Curves, Key, Rule, SaltusError
from saltus.ingest import table

WIDE = """step,seed,size,acc,acc_stderr,loss
0,1,70m,0.1,0.02,3.5
10,1,70m,0.4,0.03,2.5
0,2,70m,0.2,0.02,3.25
10,2,70m,0.6,0.03,2.25
"""
LONG = """_step,run,task,value,stderr,seconds
0,a,piqa,0.5,0.01,7
0,a,lambada,0.0,0.02,7
100,a,piqa,0.6,0.03,7
100,a,lambada,0.3,0.04,7
"""


def read_all(curves: Curves) -> dict[Key, tuple[list[int], list[float]]]:
    return {curve.key: (curve.steps.tolist(), curve.values.tolist()) for curve in curves}


def test_a_wide_table_has_a_unit_for_each_column(tmp_path: Path) -> None:
    curves = saltus.read(write(tmp_path / "evals.csv", WIDE))
    assert read_all(curves) == {
        Key("70m", "1", "acc"): ([0, 10], [0.1, 0.4]),
        Key("70m", "1", "loss"): ([0, 10], [3.5, 2.5]),
        Key("70m", "2", "acc"): ([0, 10], [0.2, 0.6]),
        Key("70m", "2", "loss"): ([0, 10], [3.25, 2.25]),
    }
    assert curves[0].standard_error is not None
    assert curves[0].standard_error.tolist() == [0.02, 0.03]
    said = "step from 'step', seed from 'seed', group from 'size', values from 'acc', 'loss'"
    assert any(f"1 table was read with columns that were guessed ({said}): evals.csv" in note for note in curves.notes)


def test_a_long_table_has_a_unit_for_each_value_of_a_column(tmp_path: Path) -> None:
    curves = saltus.read(write(tmp_path / "evals.tsv", LONG.replace(",", "\t")))
    assert curves.measure == "value"
    assert read_all(curves) == {
        Key("a", "0", "lambada"): ([0, 100], [0.0, 0.3]),
        Key("a", "0", "piqa"): ([0, 100], [0.5, 0.6]),
    }
    assert [curve.standard_error.tolist() for curve in curves if curve.standard_error is not None] == [
        [0.02, 0.04],
        [0.01, 0.03],
    ]


def test_a_long_table_with_tasks_and_metrics(tmp_path: Path) -> None:
    rows = [f"{step},{run},piqa,{metric},0.{step}" for step in (1, 2) for run in "ab" for metric in ("acc", "f1")]
    path = write(tmp_path / "evals.csv", "\n".join(["step,run,task,metric,value", *rows]))
    curves = saltus.read(path)
    assert (curves.measure, curves.units, curves.groups) == ("acc", ["piqa"], ["a", "b"])
    assert curves[0].chance == 0.5
    assert "1 metric was not read; choose it with value: f1 (4 values)" in curves.notes
    assert saltus.read(path, value=["f1"]).measure == "f1"
    alone = write(tmp_path / "log.csv", "step,metric,value\n1,loss,2.5\n1,acc,0.5\n")
    assert saltus.read(alone).units == ["acc", "loss"]


def test_shots_and_checkpoints_in_columns(tmp_path: Path) -> None:
    text = "model,checkpoint,task,fewshot,acc,acc_stderr\nm,step5,piqa,0,0.5,0.1\nm,step5,piqa,4,0.75,0.2\n"
    curves = saltus.read(write(tmp_path / "all.csv", text))
    assert read_all(curves) == {
        Key("m", "0", "piqa"): ([5], [0.5]),
        Key("m", "0", "piqa, 4-shot"): ([5], [0.75]),
    }


def test_the_name_of_a_run_says_its_seed(tmp_path: Path) -> None:
    text = "step,run,global_step,acc\n1,wide-seed1,1,0.5\n1,wide-seed2,1,0.5\n1,seed3,1,0.5\n"
    curves = saltus.read(write(tmp_path / "log.csv", text))
    assert [curve.key[:2] for curve in curves] == [("seed3", "3"), ("wide", "1"), ("wide", "2")]
    assert curves.units == ["acc"]


def test_what_is_too_large_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST_VALUES", 20)
    write(tmp_path / "good.csv", "step,acc\n1,0.5\n")
    for name in ("a", "b"):
        write(tmp_path / f"{name}.csv", WIDE)
    numbers = [{"step": step, "acc": 0.5} for step in range(11)]
    write(tmp_path / "c.jsonl", "\n".join(map(json.dumps, numbers)))
    pq.write_table(pa.Table.from_pylist(numbers), tmp_path / "d.parquet")
    note = saltus.read(tmp_path).notes[0]
    assert note.startswith("4 files cannot be read and were left out: ")
    assert "a.csv (has more than 20 cells, the most for one table)" in note
    monkeypatch.setattr(table, "MOST_BYTES", 10)
    with pytest.raises(SaltusError, match="is larger than 0 MiB, the most for one table"):
        saltus.read(tmp_path / "d.parquet")


def test_columns_are_what_they_are_named(tmp_path: Path) -> None:
    lines = ["updates,who,init,what,level,step", "5,a,7,x,0.25,1", "6,a,7,x,0.75,2"]
    path = write(tmp_path / "odd.csv", "\n".join(lines))
    curves = saltus.read(path, step="updates", group="who", seed="init", unit="what", value=["level"])
    assert read_all(curves) == {Key("a", "7", "x"): ([5, 6], [0.25, 0.75])}
    with pytest.raises(SaltusError, match="has no column 'wer'; it has 'updates', 'who', 'init'"):
        saltus.read(path, group="wer")
    with pytest.raises(SaltusError, match=r"has no numbers in 'height'; it has them in 'init', 'level'"):
        saltus.read(path, value=["height"], step="updates", unit="what", group="who")
    with pytest.raises(SaltusError, match="the column 'who' is named twice"):
        saltus.read(path, group="who", seed="who")


def test_parquet_and_json_lines_say_the_same_as_csv(tmp_path: Path) -> None:
    lines = [line.split(",") for line in WIDE.split()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    numbers = [row | {name: float(row[name]) for name in ("seed", "step", "acc", "acc_stderr", "loss")} for row in rows]
    write(tmp_path / "b" / "evals.jsonl", "\n".join(map(json.dumps, numbers)))
    (tmp_path / "c").mkdir()
    nested = [row | {"config": {"lr": 1.0}} for row in numbers]
    pq.write_table(pa.Table.from_pylist(nested), tmp_path / "c" / "evals.parquet")
    wanted = read_all(saltus.read(write(tmp_path / "a" / "evals.csv", WIDE)))
    assert read_all(saltus.read(tmp_path / "b")) == wanted
    assert read_all(saltus.read(tmp_path / "c")) == wanted


def test_the_export_of_a_wandb_history(tmp_path: Path) -> None:
    history = [
        {"_step": 0, "_runtime": 1.5, "_timestamp": 1e9, "train/loss": 2.5, "eval/acc": None},
        {"_step": 50, "_runtime": 3.5, "_timestamp": 1e9, "train/loss": "NaN"},
        {"_step": 100, "_runtime": 5.5, "_timestamp": 1e9, "train/loss": 1.5, "eval/acc": 0.75, "hist": {"bins": []}},
    ]
    path = write(tmp_path / "wide-seed4.jsonl", "\n".join(map(json.dumps, history)))
    curves = saltus.read(path)
    assert [curve.key for curve in curves] == [Key("wide", "4", "eval/acc"), Key("wide", "4", "train/loss")]
    assert curves[0].steps.tolist() == [100]
    assert (curves[1].steps.tolist(), curves[1].values.tolist(), curves[1].missing) == ([0, 100], [2.5, 1.5], (50,))
    assert "1 value is not finite and counts as not measured: wide, seed 4, train/loss, step 50: nan" in curves.notes


def test_the_chart_of_a_wandb_workspace(tmp_path: Path) -> None:
    runs = ("wide-seed1 - eval/acc", "wide-seed2 - eval/acc", "a - b - eval/acc")
    header = ["Step", "wide-seed1 - _step", *(f"{run}{end}" for run in runs for end in ("", "__MIN", "__MAX"))]
    lines = ["0,0,.25,.1,.9,.25,.1,.9,.5,.1,.9", "5,5,,,,.5,.1,.9,.5,.1,.9", "9,9,.75,.1,.9,.75,.1,.9,,,"]
    path = write(tmp_path / "wandb_export.csv", "\n".join([",".join(f'"{name}"' for name in header), *lines]))
    curves = saltus.read(path)
    assert read_all(curves) == {
        Key("a - b", "0", "eval/acc"): ([0, 5], [0.5, 0.5]),
        Key("wide", "1", "eval/acc"): ([0, 9], [0.25, 0.75]),
        Key("wide", "2", "eval/acc"): ([0, 5, 9], [0.25, 0.5, 0.75]),
    }
    assert curves[1].missing == (5,)
    with pytest.raises(SaltusError, match="has no column 'update'"):
        saltus.read(path, step="update")


def test_rows_that_say_too_little_are_counted(tmp_path: Path) -> None:
    text = "step,seed,acc\n0,1,0.5\n0,,0.7\n10,1,0.6\n10,,0.8\n,1,0.9\n2.5,1,0.9\n-1,1,0.9\n20,1,much\n30,1\n"
    curves = saltus.read(write(tmp_path / "evals.csv", text))
    assert read_all(curves) == {Key("evals", "1", "acc"): ([0, 10], [0.5, 0.6])}
    assert curves.notes[:4] == (
        "1 line has another number of cells than the first one and is left out: evals.csv line 10",
        "2 rows have no seed and are left out: evals.csv row 2; evals.csv row 4",
        "3 rows have no step and are left out: evals.csv row 5; evals.csv row 6 (2.5); evals.csv row 7 (-1)",
        "1 value is no number and is left out: evals.csv row 8",
    )


def test_columns_of_objects_are_named_as_left_out(tmp_path: Path) -> None:
    lines = [{"step": step, "eval": {"accuracy": 0.5}, "loss": 1.0 / (step + 1), "layers": [1, 2]} for step in (0, 1)]
    curves = saltus.read(write(tmp_path / "h.jsonl", "\n".join(map(json.dumps, lines))))
    assert curves.units == ["loss"]
    assert "table has columns of objects or lists, which are left out ('eval', 'layers')" in " ".join(curves.notes)


def test_percent_is_divided_by_100(tmp_path: Path) -> None:
    text = "step,task,acc,acc_stderr\n0,piqa,50.0,1.0\n10,piqa,80.0,2.0\n20,piqa,0.5,0.5\n"
    (curve,) = curves = saltus.read(write(tmp_path / "evals.csv", text), rule=Rule(above=0.5, share=True))
    assert (curve.values.tolist(), curve.chance) == ([0.5, 0.8, 0.005], 0.5)
    assert curve.standard_error is not None
    assert curve.standard_error.tolist() == [0.01, 0.02, 0.005]
    assert "1 metric is in percent and was divided by 100: acc" in curves.notes
    assert curves.emergences()[0].by == 10


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "step,acc\n", "has no rows"),
        ("a.csv", "name,note\nx,y\n", "has no column of numbers to read; it has 'name', 'note'"),
        ("a.csv", "step,acc,acc\n0,1,2\n", "has the column 'acc' more than once"),
        ("a.csv", b"step,acc\n0,\xff\n", "is not UTF-8"),
        ("a.csv", "step,acc\n0," + "9" * 200_000 + "\n", "is no CSV"),
        ("a.jsonl", "[1]\n" * 3, "3 lines are no JSON objects and are left out: a.jsonl line 1; a.jsonl line 2"),
        ("a.jsonl", "[" * 100_000 + "\n", "1 line is no JSON object"),
        ("a.parquet", b"PAR1" + b"\0" * 60, "is no whole Parquet table"),
        ("a.csv", "step,acc\nx,0.5\n", "1 row has no step and is left out"),
        (
            "a.csv",
            "acc,note\n0.5,a\n",
            "1 file has values without a step, in a column, the content or the path, which were left out: a.csv (1)",
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: str | bytes, reason: str) -> None:
    with pytest.raises(SaltusError) as caught:
        saltus.read(write(tmp_path / name, content))
    assert "there is nothing to read" in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["step{}", "{}", "iter_{}"])
def test_a_step_may_be_written_in_thousands(tmp_path: Path, form: str) -> None:
    texts = {"500": 500, "1k": 1_000, "1.5k": 1_500, "143k": 143_000, "2M": 2_000_000}
    rows = [f"{form.format(text)},0.5" for text in texts]
    (curve,) = saltus.read(write(tmp_path / "evals.csv", "\n".join(["checkpoint,acc", *rows])))
    assert curve.steps.tolist() == list(texts.values())


def test_percent_is_seen_where_most_values_are_0_and_a_split_is_named(tmp_path: Path) -> None:
    text = "step,exact_match,eval/accuracy,train_acc\n0,0,25,0.25\n1,0,40,0.4\n2,0,60,0.6\n3,0.6,80,0.8\n4,80,90,0.9\n"
    curves = saltus.read(write(tmp_path / "log.csv", text))
    assert [(curve.key.unit, curve.values.tolist(), curve.ceiling) for curve in curves] == [
        ("eval/accuracy", [0.25, 0.4, 0.6, 0.8, 0.9], 1.0),
        ("exact_match", [0.0, 0.0, 0.0, 0.006, 0.8], 1.0),
        ("train_acc", [0.25, 0.4, 0.6, 0.8, 0.9], 1.0),
    ]
    assert "2 metrics are in percent and were divided by 100: eval/accuracy; exact_match" in curves.notes


def test_names_of_columns_may_have_spaces_around_them(tmp_path: Path) -> None:
    curves = saltus.read(write(tmp_path / "log.csv", "seed, step, acc\n1, 5, 0.5\n"), step="step", value=["acc"])
    assert read_all(curves) == {Key("log", "1", "acc"): ([5], [0.5])}


@pytest.mark.parametrize(
    ("names", "metric"),
    [(("seed0", "seed1", "seed2"), "value"), (("acc_seed0", "acc_seed1", "acc_seed2"), "acc")],
)
def test_each_seed_may_have_a_column(tmp_path: Path, names: Sequence[str], metric: str) -> None:
    curves = saltus.read(write(tmp_path / "wide.csv", f"step,{','.join(names)}\n1,0.1,0.2,0.3\n2,0.4,0.5,\n"))
    assert read_all(curves) == {
        Key("wide", "0", metric): ([1, 2], [0.1, 0.4]),
        Key("wide", "1", metric): ([1, 2], [0.2, 0.5]),
        Key("wide", "2", metric): ([1], [0.3]),
    }
    assert any(
        "a seed from each of 'seed0'" in note or "a seed from each of 'acc_seed0'" in note for note in curves.notes
    )


def test_columns_that_differ_in_more_than_a_seed_are_metrics(tmp_path: Path) -> None:
    curves = saltus.read(write(tmp_path / "log.csv", "step,acc_seed1,loss_seed2\n1,0.1,0.2\n"))
    assert curves.units == ["acc_seed1", "loss_seed2"]


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        (["run,model", "lr1,m", "lr2,m"], [("m/lr1", "0"), ("m/lr2", "0")]),
        (["run,model", "m-seed1,m", "m-seed2,m"], [("m", "1"), ("m", "2")]),
        (["run,model,seed", "x1,m,1", "x2,m,2"], [("m", "1"), ("m", "2")]),  # the seed tells them apart
        (["run,model,seed", "lr1,m,1", "lr2,m,1"], [("m/lr1", "1"), ("m/lr2", "1")]),
        (["run,model", "x,a", "y,b"], [("a", "0"), ("b", "0")]),
        (["run", "lr1", "lr2"], [("lr1", "0"), ("lr2", "0")]),
    ],
)
def test_runs_of_one_model_are_kept_apart(
    tmp_path: Path, lines: Sequence[str], keys: Sequence[tuple[str, str]]
) -> None:
    rows = [f"{lines[0]},step,acc", *(f"{line},{step},0.5" for line in lines[1:] for step in (1, 2))]
    curves = saltus.read(write(tmp_path / "runs.csv", "\n".join(rows)))
    assert [curve.key[:2] for curve in curves] == keys
    assert not any("came again" in note for note in curves.notes)


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("_step,_runtime,train/global_step,train/epoch,eval/accuracy", "eval/accuracy"),
        ("_step,x,trainer/global_step,epoch,val_acc", "val_acc"),
        ("_step,_timestamp,saltus/step,trainer/epoch,saltus/repetition", "saltus/repetition"),
    ],
)
def test_the_step_of_a_tracker_is_that_of_the_training(tmp_path: Path, header: str, unit: str) -> None:
    """`_step` of wandb counts what was logged, here every 500 steps."""
    rows = "".join(f"{n},{n},{500 * n},{n / 10},{n / 10}\n" for n in range(5))
    path = write(tmp_path / "history.csv", f"{header}\n{rows}")
    curve = saltus.read(path).select(unit=unit)[0]
    assert curve.steps.tolist() == [0, 500, 1000, 1500, 2000]
    assert set(saltus.read(path).units) <= {unit, "x"}


def test_the_chart_of_a_tracker_has_its_own_step(tmp_path: Path) -> None:
    names = [f"a-seed3 - train/step{end}" for end in ("", "__MIN", "__MAX")]
    rows = "".join(f"{500 * n},{n},{n},{n}\n" for n in range(3))
    curves = saltus.read(write(tmp_path / "chart.csv", f"train/global_step,{','.join(names)}\n{rows}"))
    assert read_all(curves) == {Key("a", "3", "train/step"): ([0, 500, 1000], [0.0, 1.0, 2.0])}


@pytest.mark.parametrize("value", [("acc",), ("acc_seed0", "acc_seed1")])
def test_columns_of_seeds_are_chosen_by_their_common_name_or_their_own(tmp_path: Path, value: tuple[str, ...]) -> None:
    path = write(tmp_path / "wide.csv", "step,acc_seed0,acc_seed1,loss\n0,0.1,0.2,3\n10,0.4,0.5,2\n")
    assert read_all(saltus.read(path, value=value)) == {
        Key("wide", "0", "acc"): ([0, 10], [0.1, 0.4]),
        Key("wide", "1", "acc"): ([0, 10], [0.2, 0.5]),
    }


def test_a_column_of_values_is_chosen_beside_one_of_metrics(tmp_path: Path) -> None:
    path = write(tmp_path / "long.csv", "step,metric,first,second\n0,acc,0.1,0.2\n10,acc,0.4,0.5\n")
    assert read_all(saltus.read(path, value=("second",))) == {Key("long", "0", "acc"): ([0, 10], [0.2, 0.5])}


def test_numbers_that_databases_and_tables_write_otherwise(tmp_path: Path) -> None:
    values = pa.array([Decimal("0.1"), Decimal("0.4")], pa.decimal128(5, 2))
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"step": [0, 10], "acc": values, "loss": [3.0, 2.0]}), path)
    assert read_all(saltus.read(path))[Key("mine", "0", "acc")] == ([0, 10], [0.1, 0.4])
    gaps = write(tmp_path / "gaps.csv", "step,seed,acc\n0,3,0.1\n10,3.0,0.4\n")
    assert read_all(saltus.read(gaps)) == {Key("gaps", "3", "acc"): ([0, 10], [0.1, 0.4])}
    commas = write(tmp_path / "commas.csv", "step,acc,,\n0,0.1,,\n10,0.4,,\n")
    assert read_all(saltus.read(commas)) == {Key("commas", "0", "acc"): ([0, 10], [0.1, 0.4])}
    kelvin = write(tmp_path / "kelvin.csv", "step,acc\n5\N{KELVIN SIGN},0.1\n10,0.4\n")
    assert read_all(saltus.read(kelvin)) == {Key("kelvin", "0", "acc"): ([10], [0.4])}


def test_a_parquet_table_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([0, 1])] * 3, names=["step", "acc", "acc"])
    pq.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(SaltusError, match="has the column 'acc' more than once"):
        saltus.read(tmp_path / "twice.parquet")


def test_a_row_that_says_when_it_was_written_counts_by_that(tmp_path: Path) -> None:
    old = write(tmp_path / "m" / "a.csv", "step,acc,_timestamp\n0,0.1,100\n10,0.2,101\n20,0.3,102\n")
    new = write(tmp_path / "m" / "b.csv", "step,acc,_timestamp\n20,0.9,202\n30,0.9,203\n")
    os.utime(old, (3000.0, 3000.0))
    os.utime(new, (2000.0, 2000.0))  # copied before the other
    (curve,) = saltus.read(tmp_path, pattern="{group}/*.csv")
    assert curve.values.tolist() == [0.1, 0.2, 0.9, 0.9]


def test_a_file_of_shares_among_those_in_percent_is_named(tmp_path: Path) -> None:
    for name, most in (("a", 100), ("b", 1)):
        rows = "".join(f"{n},{most * n / 10}\n" for n in range(11))
        write(tmp_path / f"{name}.csv", f"step,acc\n{rows}")
    said = "1 file has a metric in percent that is never above 1 there; if it holds shares, read it apart: "
    assert any(note.startswith(said) and note.endswith("b.csv: acc") for note in saltus.read(tmp_path).notes)
