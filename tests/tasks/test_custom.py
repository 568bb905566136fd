"""A task of the user's own: its code is kept, and facts that its data contradict are refused with a reason."""

import linecache
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saltus.api.runs import check_run
from saltus.errors import SaltusError
from saltus.specs import CustomSpec, CustomTask, DataSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.specs.source import extract_source
from saltus.studies.study import load_study
from saltus.tasks.base import TaskFacts
from saltus.tasks.build import build_task, read_facts
from saltus.tasks.custom import check_task

OWN = '''
import numpy as np
from saltus import TaskFacts
CALLS = [0]

class Own:
    """The third token is the sum of the first two mod 3; the fourth is noise."""

    def __init__(self, generator):
        self.shift = generator.integers(3)
        self.facts = TaskFacts.of(
            symbols=3, length=4, units={"sum": [1]}, truth={1: [0, 1]}, chance=CHANCE, floor=FLOOR
        )

    def sample(self, generator, count):
        CALLS[0] += 1
        tokens = generator.integers(0, 3, (count, 4))
        tokens[:, 2] = (tokens[:, 0] + tokens[:, 1] + self.shift) % 3
        return tokens
'''.replace("CHANCE", "np.log(3)").replace("FLOOR", "0.0")


def own(old: str = "", new: str = "", **values: Any) -> CustomTask:
    assert old in OWN
    given: dict[str, Any] = {"name": "Own", "source": OWN.replace(old, new), "length": 4, "symbols": 3, **values}
    return CustomTask(**given)


def test_facts_that_the_data_bear_out_are_taken() -> None:
    check_task(own())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{1: [0, 1]}", "{1: [1]}", "a key outside changes the target"),
        ("{1: [0, 1]}", "{1: [0]}", "a key outside changes the target"),
        ("{1: [0, 1]}", "{1: [0, 1, 2]}", "needs key 2, which is after it"),
        ("chance=np.log(3)", "chance=np.log(2)", "chance is at least 1.1"),
        ("chance=np.log(3)", "chance=2.0", "allowed is above 0 to ln C = 1.1"),
        ("floor=0.0", "floor=1.2", "allowed is 0 to chance"),
        ("floor=0.0", "floor=-0.1", "allowed is 0 to chance"),
        ("% 3\n", "% 3 * 0\n", None),
        ("% 3\n", "% 3 + CALLS[0] % 2 * 7\n", "gives the token"),
        ("% 3\n", "+ CALLS[0]) % 3\n", "gives two results for one generator"),
        ("CALLS[0] += 1", "self.shift += 1", "gives another result when it is called again with an equal generator"),
        ("(count, 4)", "(count, 5)", "sample is to give integers"),
        ("tokens = generator.integers(0, 3, (count, 4))", "tokens = generator.random((count, 4))", "sample is to give"),
        (
            "CALLS[0] += 1",
            "raise KeyError('lost')",
            "raised KeyError: 'lost', at `raise KeyError('lost')`; mend its code",
        ),
        ('units={"sum": [1]}', "units={}", "has the units none"),
        ('units={"sum": [1]}', "units={1: [1]}", "has 1 unit(s) called 1; each needs a name of its own, a string"),
        ('units={"sum": [1]}', 'units={" ": [1]}', "has 1 unit(s) called ' '; each needs a name of its own, a string"),
        ('units={"sum": [1]}', 'units={"whole task": [1]}', "has a unit 'whole task', which is what all its units"),
        ('units={"sum": [1]}', 'units={"sum": [1], "last": [2, 1]}', "query 1 is in 'sum' and 'last'; a query belongs"),
        ("length=4, units", "length=5, units", "has length 5 and 3 symbols, and 4 and 3 before"),
        ("TaskFacts.of(", "dict(", "has facts that are a dict"),
    ],
)
def test_what_contradicts_its_data_is_refused_in_one_sentence(old: str, new: str, said: str | None) -> None:
    if new == "+ CALLS[0]) % 3\n":
        old, new = "+ self.shift) % 3\n", "+ self.shift + CALLS[0]) % 3\n"
    if new.startswith("% 3 * 0"):  # a constant target: its entropy is 0, and so may the floor be
        check_task(own(old, new))
        return
    with pytest.raises(SaltusError) as raised:
        check_task(own(old, new))
    assert said is not None
    assert said in str(raised.value)
    assert str(raised.value).startswith("task: Own ")
    assert "\n" not in str(raised.value)


def test_units_of_one_name_are_refused() -> None:
    two = OWN.replace('{"sum": [1]}', '{"sum": [1], "last": [2]}').replace(
        "self.facts = TaskFacts", "facts = TaskFacts"
    )
    source = two.replace(
        "\n    def sample", "        self.facts = replace(facts, units=('sum', 'sum'))\n\n    def sample"
    )
    spec = own().model_copy(update={"source": f"from dataclasses import replace\n{source}"})
    with pytest.raises(SaltusError, match=r"has 2 unit\(s\) called 'sum'; each needs a name of its own, a string"):
        check_task(spec)


def test_a_floor_above_what_frequencies_give_is_refused() -> None:
    source = OWN.replace("floor=0.0", "floor=1.0").replace("% 3\n", "% 3 // 2\n")  # targets 0, 0, 1
    with pytest.raises(SaltusError, match=r"how often each target comes gives 0\.6"):
        check_task(own().model_copy(update={"source": source}))


def test_a_task_may_have_no_known_truth() -> None:
    spec = own("truth={1: [0, 1]}, ", "")
    check_task(spec)
    facts = build_task(spec, np.random.default_rng(0)).facts
    assert not facts.truth.any()
    assert "not known" in facts.corners[0]


def test_truth_that_varies_is_held_against_each_sequence() -> None:
    facts = 'TaskFacts.of(symbols=3, length=4, units={"copy": [2]}, varying=2)'
    source = f"""
import numpy as np
from saltus import TaskFacts

class Own:
    def __init__(self, generator):
        self.facts = {facts}

    def sample(self, generator, count):
        tokens = generator.integers(0, 2, (count, 4))
        tokens[:, 3] = np.where(tokens[:, 0] == 0, tokens[:, 1], tokens[:, 2])
        return tokens

    def truth_of(self, tokens):
        truth = np.zeros((len(tokens), 3, 3), bool)
        truth[:, 2, 0] = True
        truth[np.arange(len(tokens)), 2, 1 + tokens[:, 0]] = True
        return truth
"""
    spec = own().model_copy(update={"source": source})
    check_task(spec)
    for old, new, said in (
        ("1 + tokens[:, 0]", "2 - tokens[:, 0]", "a key outside changes the target"),
        ("varying=2", "varying=True", "has facts.varying 1 at query 2, and truth_of gives 2 keys in a sequence; make"),
        ("varying=2", "truth={2: [0, 1]}", "has truth_of give query 2 other keys than facts.truth; leave truth_of out"),
        ("truth_of", "truth", "has facts.varying 2 at query 2, and truth_of gives 0 keys"),
    ):
        assert old in source
        with pytest.raises(SaltusError, match=said):
            check_task(spec.model_copy(update={"source": source.replace(old, new)}))


def test_a_long_task_is_checked_in_no_time() -> None:
    """Each of 150 queries needs one of 300 keys: only that key is looked at, which took 13 s of all of them."""
    source = """
import numpy as np
from saltus import TaskFacts

class Own:
    def __init__(self, generator):
        units = {f"copy {i}": [149 + i] for i in range(150)}
        self.facts = TaskFacts.of(symbols=3, length=300, units=units, truth={149 + i: [i] for i in range(150)})

    def sample(self, generator, count):
        half = generator.integers(0, 3, (count, 150))
        return np.concatenate([half, half], axis=1)
"""
    started = time.process_time()
    check_task(own().model_copy(update={"source": source, "length": 300}))
    assert time.process_time() - started < 5.0
    wrong = source.replace("[half, half]", "[half, half[:, ::-1]]")
    with pytest.raises(
        SaltusError, match=r"says what query 149 needs, and .* pairs of sequences that agree there have"
    ):
        check_task(own().model_copy(update={"source": wrong, "length": 300}))


def test_symbols_up_to_65536_keep_their_value() -> None:
    source = """
import numpy as np
from saltus import TaskFacts

class Own:
    def __init__(self, generator):
        self.facts = TaskFacts.of(symbols=65536, length=3, units={"copy": [1]}, truth={1: [0]})

    def sample(self, generator, count):
        first = generator.integers(0, 65536, count)
        return np.column_stack([first, first * 0, first])
"""
    spec = own().model_copy(update={"source": source, "length": 3, "symbols": 65536})
    check_task(spec)
    tokens = build_task(spec, np.random.default_rng(0)).sample(np.random.default_rng(0), 500)
    assert tokens.max() > 60_000
    np.testing.assert_array_equal(tokens[:, 0], tokens[:, 2])
    with pytest.raises(SaltusError, match="symbols"):
        own(symbols=65_537)


STUDY = (
    OWN
    + """
UNUSED = 1
from saltus import Cell, CustomTask, RunSpec, Study, TrainingSpec, TransformerSpec
training = TrainingSpec(steps=1, batch_sequences=2, compile=False)
model = TransformerSpec(d_model=8, heads=2)
study = Study(cells=[Cell(run=RunSpec(task=CustomTask.of(Own), model=model, training=training))])
"""
)


def test_the_run_keeps_the_code_and_nothing_else_of_the_file(tmp_path: Path) -> None:
    def load(text: str) -> RunSpec:
        (tmp_path / "own.py").write_text(text)
        return load_study(tmp_path / "own.py").cells[0].run

    spec = load(STUDY)
    assert isinstance(spec.task, CustomTask)
    assert (spec.task.length, spec.task.symbols) == (4, 3)
    assert "CALLS" in spec.task.source
    assert "UNUSED" not in spec.task.source
    assert load(STUDY.replace("UNUSED = 1", "UNUSED = 2")).run_id == spec.run_id
    assert load(STUDY.replace("+ self.shift", "- self.shift")).run_id != spec.run_id
    again = RunSpec(**spec.model_dump(mode="json"))
    assert again.run_id == spec.run_id
    assert read_facts(again).units == ("sum",)
    with pytest.raises(SaltusError, match=r"own.py.*task: Own raised TypeError: .*it is made as Own\(generator"):
        load(STUDY.replace("CustomTask.of(Own)", "CustomTask.of(Own, bits=3)"))
    with pytest.raises(
        SaltusError, match=r"own.py.*: task: Own raised SaltusError: units: query 1 is in 'sum' and 'last'"
    ):
        load(STUDY.replace('{"sum": [1]}', '{"sum": [1], "last": [1]}'))


def test_a_run_is_refused_before_it_is_trained() -> None:
    spec = RunSpec(
        name="mine",
        task=own("{1: [0, 1]}", "{1: [1]}"),
        model=TransformerSpec(d_model=8, heads=2),
        training=TrainingSpec(steps=1, batch_sequences=2),
    )
    with pytest.raises(SaltusError, match="mine: task: Own says what query 1 needs"):
        check_run(spec, 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("CALLS[0] += 1", "np.stack([np.zeros(4)] * count)", None),  # draws no 0 sequences
        (
            "CALLS[0] += 1",
            "if count == 256: raise KeyError(count)",
            r"mine: code of Own raised KeyError: 256, at line \d+",
        ),
    ],
)
def test_own_code_draws_finite_data_or_is_named(old: str, new: str, said: str | None) -> None:
    spec = RunSpec(
        name="mine",
        task=own(old, new),
        model=TransformerSpec(d_model=8, heads=2),
        training=TrainingSpec(steps=1, batch_sequences=2),
        data=DataSpec(train=8, test=8),
    )
    if said is None:
        check_run(spec, None)
        return
    with pytest.raises(SaltusError, match=said):
        check_run(spec, None)


def test_a_folder_s_code_is_not_executed_by_reading_it(tmp_path: Path) -> None:
    flag = tmp_path / "executed"
    spec = own("CALLS = [0]", f"CALLS = [0]; open({str(flag)!r}, 'w')")
    assert RunSpec(
        task=spec, model=TransformerSpec(d_model=8, heads=2), training=TrainingSpec(steps=1, batch_sequences=1)
    ).run_id
    assert not flag.exists()
    with pytest.raises(SaltusError, match="source is no Python code"):
        own(source="class")
    with pytest.raises(SaltusError, match="source defines Other"):
        own(source="class Other: pass")


def test_what_another_cell_of_a_notebook_imports_is_named() -> None:
    """Cells are files of their own, which share their names: only the code of the class's cell can be kept."""
    cell = "class Own:\n    def __init__(self, generator):\n        self.rate = [np for np in ()] and 0\n"
    using = "class Using:\n    def __init__(self, generator):\n        self.mean = np.mean([generator])\n"
    shared: dict[str, Any] = {"np": np}
    for name, source in (("own", cell), ("using", using)):
        linecache.cache[f"<cell {name}>"] = (len(source), None, source.splitlines(keepends=True), f"<cell {name}>")
        exec(compile(source, f"<cell {name}>", "exec"), shared)
    assert "class Own" in extract_source(shared["Own"])  # its np is a name of its own
    with pytest.raises(SaltusError, match="Using uses np, which another cell of the notebook defines or imports"):
        extract_source(shared["Using"])


class Sized:
    """Three tokens of as many symbols as it is told."""

    def __init__(self, generator: np.random.Generator, symbols: int, rate: float, name: str, even: bool) -> None:
        self.facts = TaskFacts.of(symbols=symbols, length=3, units={"last": [1]})


class Mixer:
    """Has a method of its own, and no more."""

    def forward(self, x: Any) -> Any:
        return x


def test_numbers_of_numpy_are_options_as_those_of_python_are() -> None:
    options = {"symbols": np.int64(6), "rate": np.float32(0.5), "name": np.str_("a"), "even": np.bool_(True)}
    expected = {"symbols": 6, "rate": 0.5, "name": "a", "even": True}
    for spec in (CustomTask.of(Sized, **options), CustomSpec.of(Mixer, d_model=8, options=options)):
        assert spec.options == expected
        assert [type(value) for value in spec.options.values()] == [int, float, str, bool]
