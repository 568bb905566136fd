"""Measures: what is recorded of every evaluation, one table for each. A measure is added by adding it to a list."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from traceback import extract_tb
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.tasks.base import TaskFacts
from saltus.train.evaluation import Evaluation, Standing, TrainLoss

KEY = ("seed", "step")
"""Columns of every table; a step counts updates, 0 being initialisation."""

AXES_NOTE = b"saltus.axes"
"""The note on a table's schema that names its axes."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of the seeds of a run that are trained."""

    step: int
    facts: TaskFacts
    seeds: Sequence[int]
    evaluations: Sequence[Evaluation]
    """[seed]"""
    train_losses: Sequence[TrainLoss]
    """[seed] what the batches since the evaluation before cost."""

    def stack(self, name: str) -> NDArray[np.float64]:
        """A field of every seed's evaluation as one array [seed, ...]."""
        return np.stack([getattr(evaluation, name) for evaluation in self.evaluations]).astype(np.float64)

    def mean_by_unit(self, name: str) -> NDArray[np.float64]:
        """A field whose last axis is [query], averaged over each unit's queries: [seed, ..., unit]."""
        return self.facts.mean_by_unit(self.stack(name))


@dataclass(frozen=True)
class Column:
    """A column of a measure."""

    name: str
    meaning: str
    unit_of_measure: str = ""
    """Such as `nats`; empty for a share, a probability or a number."""
    type: Literal["float64", "float32", "int32"] = "float64"
    later: bool = False
    """Whether version 0.1 did not write it: where it is missing it is read as NaN."""

    @property
    def field(self) -> pa.Field:
        """The column as Parquet keeps it, with its meaning."""
        notes = {"meaning": self.meaning, "unit_of_measure": self.unit_of_measure}
        return pa.field(self.name, getattr(pa, self.type)(), metadata=notes)


@dataclass(frozen=True)
class Measure:
    """What is recorded of every evaluation in one table: a row for each seed and each place on the axes."""

    name: str
    axes: tuple[str, ...]
    """Names of the axes after seed and step, such as `unit`."""
    columns: tuple[Column, ...]
    measure: Callable[[Evaluated], Mapping[str, NDArray[Any]]]
    """By column, values [seed, *axes]."""

    def __post_init__(self) -> None:
        names = [self.name, *self.axes, *(column.name for column in self.columns)]
        if wrong := [name for name in names if not _NAME.fullmatch(name)]:
            raise SaltusError(
                f"measure {self.name!r}: a name is {wrong[0]!r}; allowed are 1 to 32 of a-z, 0-9 and '_', starting "
                "with a letter"
            )
        columns = [*KEY, *self.axes, *(column.name for column in self.columns)]
        if repeated := [name for name in columns if columns.count(name) > 1]:
            raise SaltusError(f"measure {self.name!r}: the name {repeated[0]!r} is given to more than one column")

    @property
    def schema(self) -> pa.Schema:
        """Of its table."""
        keys = [pa.field(name, pa.int32()) for name in (*KEY, *self.axes)]
        notes = {AXES_NOTE: " ".join(self.axes).encode()}
        return pa.schema([*keys, *(column.field for column in self.columns)], metadata=notes)

    @property
    def later(self) -> frozenset[str]:
        """Columns that a file may lack."""
        return frozenset(column.name for column in self.columns if column.later)

    def tabulate(self, evaluated: Evaluated) -> pa.Table:
        """The rows of one evaluation.

        Raises:
            SaltusError: if a measure of the user's own raises, or a measure gives other columns, arrays that have not
                one axis for each of its axes, or what is no number of the column's type.

        """
        given = self._ask(evaluated)
        columns = [column.name for column in self.columns]
        shape: tuple[int, ...] = next(iter(given.values())).shape if given else ()
        right = len(shape) == 1 + len(self.axes) and shape[:1] == (len(evaluated.evaluations),)
        if given.keys() != set(columns) or any(values.shape != shape for values in given.values()) or not right:
            shapes = ", ".join(f"{name} {values.shape}" for name, values in given.items()) or "nothing"
            raise SaltusError(
                f"measure {self.name!r} gave {shapes}; it is to give {', '.join(columns)}, each of the shape "
                f"[{', '.join(('seed', *self.axes))}] with {len(evaluated.evaluations)} seeds{self._where}"
            )
        index = np.indices(shape).reshape(len(shape), -1)
        keys = {"seed": np.array(evaluated.seeds)[index[0]], "step": np.full(index.shape[1], evaluated.step)}
        keys |= dict(zip(self.axes, index[1:], strict=True))
        arrays = keys | {name: values.reshape(-1) for name, values in given.items()}
        schema = self.schema
        return pa.table([self._convert(field, arrays[field.name]) for field in schema], schema=schema)

    def _ask(self, evaluated: Evaluated) -> dict[str, NDArray[Any]]:
        """What the measure gives, as arrays."""
        try:
            given: Any = self.measure(evaluated)
        except Exception as error:
            if isinstance(error, SaltusError) or self in (*MEASURES, TRAINING_SET, FREE, PHASES):
                raise
            text = " ".join(f"{type(error).__name__}: {error}".split())
            _, *frames = extract_tb(error.__traceback__)
            lines = [frame for frame in frames if frame.filename == frames[0].filename]  # the file of the measure
            at = f", at {lines[-1].filename}:{lines[-1].lineno}" if lines else self._where
            raise SaltusError(f"measure {self.name!r} raised {text}{at}; mend its code") from error
        if not isinstance(given, Mapping):
            raise SaltusError(
                f"measure {self.name!r} gave a {type(given).__name__}; it is to give an array for each column by its "
                f"name{self._where}"
            )
        arrays: dict[str, NDArray[Any]] = {}
        for name, values in given.items():  # pyright: ignore[reportUnknownVariableType]  # anybody's code
            try:
                arrays[name] = np.asarray(values)
            except ValueError as error:
                raise self._refuse(str(name), f"no array ({error})", "an array") from None  # pyright: ignore[reportUnknownArgumentType]
        return arrays

    def _convert(self, field: pa.Field, values: NDArray[Any]) -> pa.Array:
        """A column of numbers as its type."""
        if values.dtype.kind not in "biuf":
            raise self._refuse(field.name, f"{values.dtype}", f"numbers, as {field.type}")
        try:
            return pa.array(values).cast(field.type)
        except pa.ArrowException as error:
            text = " ".join(str(error).split())
            raise self._refuse(field.name, f"{values.dtype} ({text})", f"what {field.type} can hold") from None

    def _refuse(self, column: str, given: str, wanted: str) -> SaltusError:
        return SaltusError(f"measure {self.name!r} gave {given} for {column}; it is to give {wanted}{self._where}")

    @property
    def _where(self) -> str:
        """Of its function, if that is known."""
        code = getattr(self.measure, "__code__", None)
        return f" ({code.co_filename}:{code.co_firstlineno})" if code else ""


def _measure_steps(evaluated: Evaluated) -> dict[str, NDArray[Any]]:
    facts, losses = evaluated.facts, evaluated.train_losses
    loss, accuracy = evaluated.stack("loss"), evaluated.stack("accuracy")  # [seed, query]
    return {
        "train_loss": np.array([batches.mean for batches in losses]),
        "lowest_train_loss": np.array([batches.lowest for batches in losses]),
        "loss": loss.mean(1),
        "scored_loss": loss[:, facts.scored].mean(1),
        "accuracy": accuracy[:, facts.scored].mean(1),
        "exact_units": (facts.mean_by_unit(accuracy) == 1.0).sum(1),
        "exact_sequences": evaluated.stack("exact_sequences"),
    }


def _measure_units(evaluated: Evaluated) -> dict[str, NDArray[Any]]:
    loss = evaluated.mean_by_unit("loss")
    return {
        "loss": loss,
        "accuracy": evaluated.mean_by_unit("accuracy"),
        "target_probability": evaluated.mean_by_unit("target_probability"),
        "progress": evaluated.facts.progress(loss),
    }


def _measure_positions(evaluated: Evaluated) -> dict[str, NDArray[Any]]:
    return {"loss": evaluated.stack("loss"), "accuracy": evaluated.stack("accuracy")}


def _measure_heads(evaluated: Evaluated) -> dict[str, NDArray[Any]]:
    return {name: evaluated.mean_by_unit(name) for name in ("entropy", "truth_mass", "overlap")}


_PROBABILITY = "mean probability of the target"
_MEAN_PATTERN = "; of the mean pattern, or the mean over sequences where the true keys vary"

MEASURES: tuple[Measure, ...] = (
    Measure(
        "steps",
        (),
        (
            Column("train_loss", "mean of the batches since the evaluation before; NaN at step 0", "nats"),
            Column("lowest_train_loss", "the smallest of a single one; infinite at step 0", "nats", later=True),
            Column("loss", "on the evaluation sequences, over the whole sequence", "nats"),
            Column("scored_loss", "the same, over the scored queries alone", "nats"),
            Column("accuracy", "over the scored queries"),
            Column("exact_units", "units with no error on any evaluation sequence", type="int32"),
            Column("exact_sequences", "share of sequences with every scored token right"),
        ),
        _measure_steps,
    ),
    Measure(
        "units",
        ("unit",),
        (
            Column("loss", "mean over the unit's queries", "nats"),
            Column("accuracy", "mean over the unit's queries"),
            Column("target_probability", _PROBABILITY),
            Column("progress", "share of the way from chance to floor loss"),
        ),
        _measure_units,
    ),
    Measure(
        "positions",
        ("query",),
        (Column("loss", "of the query's prediction, scored or not", "nats"), Column("accuracy", "of the same")),
        _measure_positions,
    ),
    Measure(
        "heads",
        ("layer", "head", "unit"),
        (
            Column("entropy", "of attention over the candidate keys", "nats", "float32"),
            Column("truth_mass", "attention on the true keys" + _MEAN_PATTERN, type="float32"),
            Column(
                "overlap",
                "share of the s true keys among the s keys with the most attention" + _MEAN_PATTERN,
                type="float32",
            ),
        ),
        _measure_heads,
    ),
)
"""What every run records."""


def _measure_fit(name: str, evaluated: Evaluated) -> dict[str, NDArray[Any]]:
    facts, fits = evaluated.facts, [getattr(evaluation, name) for evaluation in evaluated.evaluations]
    loss, accuracy = (np.stack([getattr(fit, name) for fit in fits]) for name in ("loss", "accuracy"))
    by_unit = facts.mean_by_unit(loss)
    return {"loss": by_unit, "accuracy": facts.mean_by_unit(accuracy), "progress": facts.progress(by_unit)}


def _describe_fit(name: str, field: str, where: str) -> Measure:
    columns = (
        Column("loss", f"{where}, mean over the unit's queries", "nats"),
        Column("accuracy", f"{where}, mean over the unit's queries"),
        Column("progress", f"share of the way from chance to floor loss, {where}"),
    )
    return Measure(name, ("unit",), columns, partial(_measure_fit, field))


TRAINING_SET = _describe_fit("training_set", "fit", "on the training set")
"""What a run with finite data records besides: the other tables are about its test set."""

FREE = _describe_fit("free", "free", "without the interventions")
"""What a run records besides whose interventions change what the model computes: the other tables are with them."""


def _measure_phases(evaluated: Evaluated) -> dict[str, NDArray[Any]]:
    standings = [evaluation.standing for evaluation in evaluated.evaluations if evaluation.standing]
    return {name: np.array([getattr(each, name) for each in standings]) for name in Standing._fields}


PHASES = Measure(
    "phases",
    (),
    (
        Column("phase", "phase of the next step, from 0; the number of phases is the target", type="int32"),
        Column("solved", "share of the units of the phase before that are solved; NaN where it does not ask"),
        Column("tokens", "that the seed was trained on since the start"),
        Column("operations", "floating-point operations of its steps since the start, without interventions'"),
    ),
    _measure_phases,
)
"""What a run with a curriculum records besides."""


def list_measures(spec: RunSpec, own: Sequence[Measure]) -> tuple[Measure, ...]:
    """What a run records; `own` is what was joined for all runs."""
    besides = {TRAINING_SET: spec.data is not None, FREE: spec.steered, PHASES: bool(spec.curriculum)}
    return (*own, *(measure for measure, wanted in besides.items() if wanted))


def join_measures(own: Sequence[Measure]) -> tuple[Measure, ...]:
    """What every run records, and the user's own.

    Raises:
        SaltusError: if one is no measure, or two have one name.

    """
    given: Any = own  # anybody's
    wrong: list[Any] = (
        [each for each in given if not isinstance(each, Measure)] if isinstance(given, Sequence) else [own]
    )
    if wrong:
        raise SaltusError(f"measures: {wrong[0]!r:.60} was given; it is a list of Measure, from saltus.train.measures")
    names = [measure.name for measure in (*MEASURES, TRAINING_SET, FREE, PHASES, *own)]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise SaltusError(f"measures: the name {repeated[0]!r} is given to more than one; names must differ")
    return (*MEASURES, *own)
