"""Descriptions: bad input is one sentence that can be acted on, and the run id is the content."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltus.errors import SaltusError
from saltus.specs import (
    CellularAutomatonSpec,
    EmergenceSpec,
    LinearMapSpec,
    RunSpec,
    ScheduleSpec,
    TemperatureSpec,
    TrainingSpec,
    TransformerSpec,
)

Values = dict[str, Any]


def base() -> Values:
    return {
        "name": "tiny",
        "task": {"kind": "linear_map", "size": 6, "sparsity": 2},
        "model": {"kind": "transformer", "d_model": 16, "heads": 2},
        "training": {"steps": 120, "batch_sequences": 16},
    }


def put(path: str, value: Any) -> Values:
    """The base description with `value` at `path`, such as 'task.size'."""
    values = base()
    *parents, last = path.split(".")
    inner = values
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = value
    return values


def refusal(make: Callable[[], object]) -> str:
    """What is said to a bad input: one sentence, and never pydantic's own error."""
    with pytest.raises(SaltusError) as caught:
        make()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "pydantic" not in sentence
    return sentence


BAD_VALUES = [
    # where, what is given, and what the sentence must hold: the field, the value, what is allowed
    ("training.step", 10, ["TrainingSpec.step:", "no such key", "steps, batch_sequences", "stop_when_solved"]),
    ("self", 1, ["RunSpec.self:", "no such key", "name, task, model"]),
    ("task.self", 1, ["LinearMapSpec.self:", "no such key", "kind, size, sparsity"]),
    ("task", {1: 2, "kind": "linear_map"}, ["LinearMapSpec.1:", "no such key", "kind, size, sparsity"]),
    (
        "colour",
        "red",
        ["RunSpec.colour:", "no such key", "name, task, model, training, intervention, emergence, seeds"],
    ),
    ("task.heads", 3, ["LinearMapSpec.heads:", "no such key", "kind, size, sparsity, states, symbols"]),
    ("training.evaluate.evry", 3, ["ScheduleSpec.evry:", "no such key", "first, factor, every"]),
    ("task.sparsity", 7, ["LinearMapSpec", "sparsity is 7", "size 6", "at most 6"]),
    ("task.size", 0, ["LinearMapSpec.size:", "0 was given", "greater than or equal to 1"]),
    ("task.kind", "linear_mapp", ["RunSpec.task:", "'linear_mapp'", "linear_map, cellular_automaton"]),
    ("task.kind", ["linear_map"], ["RunSpec.task:", "kind is ['linear_map']", "linear_map, cellular_automaton"]),
    ("intervention", [{"kind": {}}], ["RunSpec.intervention:", "kind is {}", "bias, temperature"]),
    ("task", 3, ["RunSpec.task:", "3 was given", "LinearMapSpec, CellularAutomatonSpec"]),
    ("model.heads", 3, ["TransformerSpec", "heads is 3", "d_model 16", "divisor"]),
    ("model.heads", 0, ["TransformerSpec.heads:", "0 was given", "greater than or equal to 1"]),
    ("model.positions", "sine", ["TransformerSpec.positions:", "'sine' was given", "'learned', 'rotary' or 'none'"]),
    ("training.steps", -5, ["TrainingSpec.steps:", "-5 was given", "greater than or equal to 1"]),
    ("training.steps", 1.5, ["TrainingSpec.steps:", "1.5 was given", "integer"]),
    ("training.batch_tokens", 64, ["TrainingSpec", "batch_sequences is 16", "batch_tokens is 64", "exactly one"]),
    ("training.batch_sequences", None, ["batch_sequences is None", "batch_tokens is None", "exactly one"]),
    ("training.learning_rate", float("nan"), ["TrainingSpec.learning_rate:", "nan was given", "finite"]),
    ("training.learning_rate", float("inf"), ["TrainingSpec.learning_rate:", "inf was given", "finite"]),
    ("training.learning_rate", 0, ["TrainingSpec.learning_rate:", "0 was given", "greater than 0"]),
    ("training.betas", (0.9, 1.0), ["TrainingSpec.betas:", "betas are (0.9, 1.0)", "[0, 1)"]),
    ("training.betas", (0.9, float("nan")), ["TrainingSpec.betas.1:", "nan was given", "finite"]),
    ("training.evaluate", {"factor": 1.0}, ["ScheduleSpec.factor:", "1.0 was given", "greater than 1"]),
    ("training.checkpoint", {"every": 0}, ["ScheduleSpec.every:", "0 was given", "greater than or equal to 1"]),
    ("emergence", {"threshold": 1.5}, ["EmergenceSpec.threshold:", "1.5 was given", "less than or equal to 1"]),
    ("seeds", 0, ["RunSpec.seeds:", "0 was given", "greater than or equal to 1"]),
    ("seeds", "many", ["RunSpec.seeds:", "'many' was given", "integer"]),
    ("seeds", "a\nb" * 100, ["RunSpec.seeds:", "was given", "integer"]),
    ("master_seed", 2**32, ["RunSpec.master_seed:", "4294967296 was given", "less than 4294967296"]),
    ("name", "../x", ["RunSpec.name:", "'../x'", "allowed are", "a-z"]),
    ("name", "..", ["RunSpec.name:", "'..'", "starting with a letter or digit"]),
    ("name", "a/b", ["RunSpec.name:", "'a/b'", "allowed are"]),
    ("name", "Tiny", ["RunSpec.name:", "'Tiny'", "allowed are"]),
    ("name", "tiny\n", ["RunSpec.name:", "'tiny\\n'", "allowed are"]),
    ("name", "", ["RunSpec.name:", "''", "1 to 64"]),
    ("name", "a" * 65, ["RunSpec.name:", "a" * 65, "1 to 64"]),
]


@pytest.mark.parametrize(("path", "value", "parts"), BAD_VALUES)
def test_bad_value_is_one_sentence(path: str, value: object, parts: list[str]) -> None:
    values = put(path, value)
    sentence = refusal(lambda: RunSpec(**values))
    assert [part for part in parts if part not in sentence] == [], sentence
    assert refusal(lambda: RunSpec.model_validate(values)) == sentence


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: CellularAutomatonSpec(size=8, window=4), ["window is 4", "odd numbers up to the size 8"]),
        (lambda: CellularAutomatonSpec(size=4, window=5), ["window is 5", "odd numbers up to the size 4"]),
        (
            lambda: CellularAutomatonSpec(size=32, window=9),
            ["window is 9 and symbols 4", "symbols**window = 65536"],
        ),
        (lambda: CellularAutomatonSpec(size=4096, symbols=64, window=4095), ["window is 4095 and symbols 64"]),
        (lambda: CellularAutomatonSpec(size=8, rules=0), ["Spec.rules:", "0 was given", "equal to 1 or", "'fresh'"]),
        (lambda: TransformerSpec(d_model=6, heads=2, positions="rotary"), ["d_head is 3", "even"]),
        (lambda: TransformerSpec(heads=1, d_head=5, positions="rotary"), ["d_head is 5", "even"]),
    ],
)
def test_bad_part_is_one_sentence(make: Callable[[], object], parts: list[str]) -> None:
    sentence = refusal(make)
    assert [part for part in parts if part not in sentence] == [], sentence


def test_a_last_factor_needs_the_step_from_which_on_it_is_one() -> None:
    with pytest.raises(SaltusError, match="last is 3 and until is not given; say from which step on it is the factor"):
        TemperatureSpec(factor=2.0, last=3.0)
    assert TemperatureSpec(factor=2.0, last=3.0, until=10).anneal(2.0, 3.0, 10) == 3.0


def test_missing_keys_are_named_and_counted() -> None:
    sentence = refusal(lambda: RunSpec.model_validate({"name": "tiny"}))
    assert sentence == "RunSpec.task: this key is required and was not given (and 2 more)"
    assert refusal(lambda: TrainingSpec.model_validate({"step": 3})).startswith(
        "TrainingSpec.step: there is no such key"
    )  # a misspelling
    assert "RunSpec.task: the key 'kind' is required" in refusal(lambda: RunSpec(**put("task", {"size": 3})))


def test_bad_json_is_refused_alike() -> None:
    values = put("training.steps", -5)
    assert "TrainingSpec.steps: -5" in refusal(lambda: RunSpec.model_validate_json(json.dumps(values)))


@pytest.mark.parametrize(("seeds", "steps", "part"), [(0, None, "RunSpec.seeds: 0"), (None, -5, "Spec.steps: -5")])
def test_overrides_are_validated(seeds: int | None, steps: int | None, part: str) -> None:
    spec = RunSpec(**base())
    assert part in refusal(lambda: spec.with_overrides(seeds=seeds, steps=steps))


def test_overrides_replace_and_validate_what_was_copied() -> None:
    spec = RunSpec(**base())
    changed = spec.with_overrides(seeds=5, steps=7)
    assert (changed.seeds, changed.training.steps) == (5, 7)
    assert spec.with_overrides() == spec
    copied = spec.model_copy(update={"seeds": "none"})  # pydantic does not validate copies
    assert "RunSpec.seeds: 'none' was given" in refusal(copied.with_overrides)


def test_descriptions_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunSpec(**base()).seeds = 3


# Every key that decides numbers, with a value that differs from that of the base description.
OTHER: dict[str, Any] = {
    "task.size": 7,
    "task.sparsity": 3,
    "task.states": 3,
    "task.symbols": 3,
    "task.kind": None,  # below
    "model.kind": None,  # below
    "model.layers": 2,
    "model.d_model": 18,
    "model.heads": 4,
    "model.d_head": 4,
    "model.d_mlp": 8,
    "model.positions": "rotary",
    "model.layer_norm": False,
    "model.tied_embeddings": True,
    "model.dropout": 0.1,
    "training.steps": 121,
    "training.batch_sequences": 17,
    "training.batch_tokens": None,  # below
    "training.learning_rate": 2e-3,
    "training.warmup": 7,
    "training.decay": "cosine",
    "training.optimizer": "sgd",
    "training.momentum": None,  # below
    "training.rates": {"*": 2.0},
    "training.betas": (0.9, 0.99),
    "training.weight_decay": 0.0,
    "training.loss": "scored",
    "training.precision": "bfloat16",
    "training.compile": False,
    "training.evaluation_sequences": 17,
    "training.evaluate": {"every": 7},
    "training.snapshot": {"every": 7},
    "training.checkpoint": {"every": 7},
    "training.stop_when_solved": True,
    "training.influence": True,
    "training.initialisation_scale": 2.0,
    "training.patterns": False,
    "intervention": {"strength": 3.0},
    "seeds": 9,
    "master_seed": 1,
    "data": {"train": 32, "test": 16},
    "map": "seed",
    "curriculum": [{"kind": "rows", "number": 3, "steps": 10}],
}


def test_every_key_but_the_name_the_seeds_and_the_rule_is_in_the_run_id() -> None:
    spec = RunSpec(**base())
    content = spec.model_dump()
    parts = ("task", "model", "training")
    keys = {key for key in content if key not in parts} | {f"{part}.{key}" for part in parts for key in content[part]}
    assert keys == {*OTHER, "name", "emergence"}, "a new key needs a line in OTHER"
    assert RunSpec(**put("seeds", OTHER["seeds"])).run_id == spec.run_id
    others = [RunSpec(**put(path, value)) for path, value in OTHER.items() if value is not None and path != "seeds"]
    others.append(RunSpec(**put("task", {"kind": "cellular_automaton", "size": 6})))
    others.append(RunSpec(**put("model", {"kind": "mlp_mixer", "d_model": 16})))
    others.append(RunSpec(**put("training", {"steps": 120, "batch_tokens": 16 * 12})))
    sgd = {"steps": 120, "batch_sequences": 16, "optimizer": "sgd", "momentum": 0.9}
    others.append(RunSpec(**put("training", sgd)))
    others.append(RunSpec(**put("training.compile", "auto")))
    others.append(RunSpec(**put("model.d_mlp", 0)))
    others.append(RunSpec(**put("model.positions", "none")))
    inner = {"training.evaluate.first": 9, "training.evaluate.factor": 9, "training.evaluate.every": 9}
    others += [RunSpec(**put(path, value)) for path, value in inner.items()]
    ids = [spec.run_id, *(other.run_id for other in others)]
    assert len(set(ids)) == len(ids)
    hashes = {run_id.removeprefix("tiny-") for run_id in ids}
    assert {len(digest) for digest in hashes} == {10}


def test_the_rule_belongs_to_reading_unless_training_stops_by_it() -> None:
    for stops, different in ((False, 1), (True, 3)):
        rules = [{}, {"hold": 4}, {"threshold": 0.5}]
        values = [put("training.stop_when_solved", stops) | {"emergence": rule} for rule in rules]
        specs = [RunSpec.model_validate(each) for each in values]
        assert len({spec.content_hash for spec in specs}) == different
        assert len({spec.former_hash for spec in specs}) == 3  # as version 0.1 had it


def test_the_name_is_before_the_hash_and_not_in_it() -> None:
    ids = [RunSpec(**put("name", name)).run_id for name in ("tiny", "other")]
    assert [run_id.rsplit("-", 1)[0] for run_id in ids] == ["tiny", "other"]
    assert len({run_id.rsplit("-", 1)[1] for run_id in ids}) == 1


def test_run_id_is_pinned() -> None:
    """Folders on disk are found by it: a change here means that nothing finished is found again."""
    assert RunSpec(**base()).run_id == "tiny-fc705354c2"


positive = st.integers(1, 50)
schedules = st.builds(ScheduleSpec, first=positive, factor=st.floats(1.01, 1000), every=positive)
tasks = st.one_of(
    st.builds(LinearMapSpec, size=st.integers(4, 64), sparsity=st.integers(1, 4), symbols=st.integers(2, 64)),
    st.builds(CellularAutomatonSpec, size=st.integers(5, 64), rules=st.one_of(positive, st.just("fresh"))),
)
models = st.builds(
    TransformerSpec,
    layers=positive,
    heads=st.integers(1, 8),
    d_head=st.integers(1, 9).map(lambda half: 2 * half),
    positions=st.sampled_from(["learned", "rotary"]),
)
trainings = st.builds(
    TrainingSpec,
    steps=positive,
    batch_sequences=positive,
    learning_rate=st.floats(1e-9, 10.0),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    evaluate=schedules,
    stop_when_solved=st.booleans(),
)
runs = st.builds(
    RunSpec,
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
    task=tasks,
    model=models,
    training=trainings,
    emergence=st.builds(EmergenceSpec, threshold=st.floats(0.01, 1.0), hold=positive),
    seeds=positive,
    master_seed=st.integers(0, 2**32 - 1),
)


def backwards(values: Any) -> Any:
    """The same content with its keys in the opposite order."""
    if not isinstance(values, dict):
        return values
    pairs: list[tuple[str, Any]] = list(values.items())  # pyright: ignore[reportUnknownArgumentType]
    return {key: backwards(value) for key, value in reversed(pairs)}


@given(runs)
def test_json_and_key_order_change_nothing(spec: RunSpec) -> None:
    text = json.dumps(spec.model_dump(mode="json"))
    for again in (
        RunSpec(**json.loads(text)),
        RunSpec(**backwards(json.loads(text))),
        RunSpec.model_validate_json(text),
    ):
        assert again == spec
        assert again.run_id == spec.run_id


@given(runs, runs)
def test_hashes_are_equal_where_the_contents_are(one: RunSpec, other: RunSpec) -> None:
    assert (one.content_hash == other.content_hash) == (
        one.model_dump(exclude={*one.unhashed}) == other.model_dump(exclude={*other.unhashed})
    )
