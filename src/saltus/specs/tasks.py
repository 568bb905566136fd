"""Descriptions of synthetic tasks. A task is added here, with the class that its description builds."""

from math import log2
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, SerializeAsAny, model_validator

from saltus.errors import SaltusError
from saltus.specs.base import Spec
from saltus.specs.kinds import of_kind
from saltus.specs.source import check_source, extract_source, unwrap_options

__all__ = [
    "AssociativeRecallSpec",
    "CellularAutomatonSpec",
    "CustomTask",
    "InductionSpec",
    "LinearMapSpec",
    "ModularAdditionSpec",
    "MultiQueryRecallSpec",
    "NoiseSpec",
    "SparseParitySpec",
    "SubsetRecallSpec",
]


class SyntheticSpec(Spec):
    """What every task has."""

    builds: ClassVar[str]
    """Where the task is, as `module:Class`; it is made as Class(spec, generator)."""
    content: ClassVar[frozenset[str]] = frozenset()
    """Keys that decide what is learnt, and not the shape of the data."""

    kind: Any
    """A string, and one literal in each kind."""

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        raise NotImplementedError

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        raise NotImplementedError


class LinearMapSpec(SyntheticSpec):
    """x_(t+1) = A x_t mod C for a fixed A in {0,1}^(S x S) with exactly s ones in each row (the paper, linear map)."""

    builds: ClassVar[str] = "saltus.tasks.linear_map:LinearMap"
    content: ClassVar[frozenset[str]] = frozenset({"sparsity"})

    kind: Literal["linear_map"] = "linear_map"
    size: int = Field(ge=1, le=1024, description="S, the number of tokens in a state")
    sparsity: int = Field(ge=1, description="s, the number of ones in each row of A")
    states: int = Field(default=2, ge=2, le=64, description="T, the number of states in a sequence")
    symbols: int = Field(default=2, ge=2, le=64, description="C, the number of symbols; sums are taken mod C")

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.symbols

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return self.size * self.states

    @model_validator(mode="after")
    def _check_sparsity(self) -> Self:
        if self.sparsity > self.size:
            raise ValueError(f"sparsity is {self.sparsity}, but a row of size {self.size} has at most {self.size} ones")
        return self


class CellularAutomatonSpec(SyntheticSpec):
    """Trajectories of a one-dimensional cellular automaton whose rule must be inferred in context (the paper)."""

    builds: ClassVar[str] = "saltus.tasks.cellular_automaton:CellularAutomaton"
    content: ClassVar[frozenset[str]] = frozenset({"window", "applications", "rules"})

    kind: Literal["cellular_automaton"] = "cellular_automaton"
    size: int = Field(ge=1, le=4096, description="S, the number of cells")
    symbols: int = Field(default=4, ge=2, le=64, description="C, the number of symbols")
    window: int = Field(default=3, ge=1, description="W, the odd number of cells that a rule reads; it wraps around")
    states: int = Field(default=16, ge=2, le=256, description="T, the number of states in a sequence")
    applications: int = Field(default=1, ge=1, le=64, description="k, rule applications for each transition")
    rules: Annotated[int, Field(ge=1, le=65536)] | Literal["fresh"] = Field(
        default=256, description="N, the pool from which each sequence draws its rule, or 'fresh' for a new rule each"
    )

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.symbols

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return self.size * self.states

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.window % 2 == 0 or self.window > self.size:
            raise ValueError(f"window is {self.window}; allowed are odd numbers up to the size {self.size}")
        if self.window * log2(self.symbols) > 16.0:  # the power itself may have more digits than Python writes
            raise ValueError(
                f"window is {self.window} and symbols {self.symbols}; allowed are at most symbols**window = 65536 "
                "table entries for a rule"
            )
        return self


class AssociativeRecallSpec(SyntheticSpec):
    """Pairs of a key and a value, fresh in each sequence, then keys whose values are asked (arXiv 2312.04927)."""

    builds: ClassVar[str] = "saltus.tasks.associative_recall:AssociativeRecall"

    kind: Literal["associative_recall"] = "associative_recall"
    pairs: int = Field(ge=1, le=254, description="pairs that are shown, of different keys")
    queries: int = Field(ge=1, description="keys that are asked, each at most once")
    keys: int = Field(ge=1, description="vocabulary of keys")
    values: int = Field(ge=2, description="vocabulary of values")

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.keys + self.values

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return 2 * (self.pairs + self.queries)

    @model_validator(mode="after")
    def _check_vocabulary(self) -> Self:
        _check_asked(self.queries, self.pairs, "pairs")
        _check_symbols("keys", self.keys, self.values)
        if self.pairs > self.keys:
            raise ValueError(
                f"pairs is {self.pairs} and keys is {self.keys}; pairs have different keys, so at most that"
            )
        return self


class InductionSpec(SyntheticSpec):
    """A string of different symbols and its repetition, with a length that varies by sequence (arXiv 2209.11895)."""

    builds: ClassVar[str] = "saltus.tasks.induction:Induction"
    content: ClassVar[frozenset[str]] = frozenset({"shortest"})

    kind: Literal["induction"] = "induction"
    symbols: int = Field(ge=2, le=256, description="C, the number of symbols")
    length: int = Field(ge=4, description="tokens in a sequence: the string, and its repetition for as long as that is")
    shortest: int = Field(ge=2, description="the least length of the string, which is uniform from here to `longest`")
    longest: int = Field(ge=2, description="the greatest length of the string")

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.symbols

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return self.length

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if not self.shortest <= self.longest <= self.symbols:
            raise ValueError(
                f"shortest is {self.shortest} and longest is {self.longest}; allowed are 2 <= shortest <= longest <= "
                f"{self.symbols}, the number of symbols, since those of the string differ"
            )
        if not self.longest + 2 <= self.length <= 2 * self.shortest:
            raise ValueError(
                f"length is {self.length}; allowed are longest + 2 = {self.longest + 2}, for an answer in every "
                f"sequence, to 2 * shortest = {2 * self.shortest}, for no symbol to come a third time"
            )
        return self


class SubsetRecallSpec(SyntheticSpec):
    """Items of m attributes and a value, asked by attributes of which k matter, always the same k: k-of-m recall."""

    builds: ClassVar[str] = "saltus.tasks.subset_recall:SubsetRecall"
    content: ClassVar[frozenset[str]] = frozenset({"relevant"})

    kind: Literal["subset_recall"] = "subset_recall"
    items: int = Field(ge=1, le=128, description="items that are shown, which differ in what matters")
    queries: int = Field(ge=1, description="items that are asked, each at most once")
    attributes: int = Field(ge=1, le=64, description="m, attributes of an item")
    relevant: int = Field(ge=1, description="k, attributes that matter; there are C(m, k) ways to choose them")
    symbols: int = Field(ge=2, description="vocabulary of attributes, the same for each of them")
    values: int = Field(ge=2, description="vocabulary of values")

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.symbols + self.values

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return (self.attributes + 1) * (self.items + self.queries)

    @model_validator(mode="after")
    def _check_items(self) -> Self:
        _check_asked(self.queries, self.items, "items")
        _check_symbols("symbols", self.symbols, self.values)
        if self.relevant > self.attributes:
            raise ValueError(f"relevant is {self.relevant}, but an item has {self.attributes} attributes")
        if not self.items <= self.symbols**self.relevant <= 2**31:
            raise ValueError(
                f"symbols**relevant is {self.symbols**self.relevant}; allowed are {self.items}, the number of items, "
                "which differ in what matters, to 2**31"
            )
        return self


class NoiseSpec(SyntheticSpec):
    """Independent uniform tokens, of which nothing can be predicted: a control for leaks."""

    builds: ClassVar[str] = "saltus.tasks.noise:Noise"

    kind: Literal["noise"] = "noise"
    length: int = Field(ge=2, le=65536, description="tokens in a sequence")
    symbols: int = Field(ge=2, le=256, description="C, the number of symbols")

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.symbols

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return self.length


class SparseParitySpec(SyntheticSpec):
    """Uniform bits and then the parity of k of them, always the same k (arXiv 2207.08799)."""

    builds: ClassVar[str] = "saltus.tasks.sparse_parity:SparseParity"
    content: ClassVar[frozenset[str]] = frozenset({"subset"})

    kind: Literal["sparse_parity"] = "sparse_parity"
    bits: int = Field(ge=1, le=4096, description="n, the number of bits")
    subset: int = Field(ge=1, description="k, the bits whose parity is asked; which they are is drawn")

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return 2

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return self.bits + 1

    @model_validator(mode="after")
    def _check_subset(self) -> Self:
        if self.subset > self.bits:
            raise ValueError(f"subset is {self.subset}, but there are {self.bits} bits; at most that many are allowed")
        return self


class ModularAdditionSpec(SyntheticSpec):
    """a, b, = and then a + b mod p, for uniform a and b (arXiv 2201.02177): with `data`, the task of grokking."""

    builds: ClassVar[str] = "saltus.tasks.modular_addition:ModularAddition"

    kind: Literal["modular_addition"] = "modular_addition"
    modulus: int = Field(ge=2, le=65_535, description="p; the numbers are 0 to p - 1, and p is the sign =")

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.modulus + 1

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return 4


class MultiQueryRecallSpec(SyntheticSpec):
    """Pairs of a key and a value, then each key asked once, at a place of its own among filler (arXiv 2312.04927)."""

    builds: ClassVar[str] = "saltus.tasks.multi_query_recall:MultiQueryRecall"
    content: ClassVar[frozenset[str]] = frozenset({"power"})

    kind: Literal["multi_query_recall"] = "multi_query_recall"
    pairs: int = Field(ge=1, le=4096, description="D, pairs that are shown, of different keys; each key is asked once")
    length: int = Field(ge=4, le=65_536, description="N, tokens in a sequence: the pairs, then two for each place")
    keys: int = Field(ge=1, description="vocabulary of keys")
    values: int = Field(ge=2, description="vocabulary of values")
    power: float = Field(
        default=0.01, gt=0, le=1, description="a: the i-th place after the pairs is chosen as i**(a - 1); 1 is uniform"
    )

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.keys + self.values

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return self.length

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        if self.length % 2 or self.length < 4 * self.pairs:
            allowed = "allowed are even lengths from 4 * pairs on: a pair is shown and asked"
            raise ValueError(f"length is {self.length} and pairs is {self.pairs}; {allowed}")
        if self.pairs > self.keys or self.keys + self.values > 65_536:
            allowed = "pairs have different keys, so at most that, and keys + values is at most 65536"
            raise ValueError(f"pairs is {self.pairs}, keys is {self.keys} and values is {self.values}; {allowed}")
        return self


class CustomTask(SyntheticSpec):
    """A task of the user's own, described by its code: `CustomTask.of(MyTask, bits=20)`."""

    builds: ClassVar[str] = "saltus.tasks.custom:build_custom_task"

    kind: Literal["custom"] = "custom"
    name: str = Field(description="the class in `source`; made as name(generator, **options)")
    source: str = Field(max_length=100_000, description="Python code that defines it")
    options: dict[str, bool | int | float | str] = Field(default={}, description="further arguments of the class")
    length: int = Field(ge=2, le=65_536, description="tokens in a sequence")
    symbols: int = Field(ge=2, le=65_536, description="C, the number of symbols")

    @classmethod
    def of(cls, task: type, **options: Any) -> Self:
        """Describe a class that is defined at the top level of a study file or in a notebook: docs/own-task.md.

        It is made once, to learn the length of its sequences and its symbols.

        Raises:
            SaltusError: if its code cannot be read, or raises, or says no length and symbols that are allowed.

        """
        source = extract_source(task)
        try:
            facts = task(np.random.default_rng(0), **options).facts
            length, symbols = int(facts.length), int(facts.symbols)
        except Exception as error:  # noqa: BLE001 - somebody's code may raise anything
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise SaltusError(
                f"task: {task.__name__} raised {text}; it is made as {task.__name__}(generator, **options), "
                "and has facts"
            ) from None
        return cls(name=task.__name__, source=source, options=unwrap_options(options), length=length, symbols=symbols)

    @property
    def vocabulary(self) -> int:
        """Symbols that a token can be."""
        return self.symbols

    @property
    def tokens(self) -> int:
        """Tokens in a sequence."""
        return self.length

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        check_source(self.name, self.source)
        return self


def _check_asked(queries: int, shown: int, name: str) -> None:
    if queries > shown:
        raise ValueError(f"queries is {queries} and {name} is {shown}; each is asked at most once, so at most that")


def _check_symbols(name: str, number: int, values: int) -> None:
    if number + values > 256:
        raise ValueError(f"{name} is {number} and values is {values}; together at most 256 are allowed")


TASKS: dict[str, type[SyntheticSpec]] = {
    "linear_map": LinearMapSpec,
    "cellular_automaton": CellularAutomatonSpec,
    "associative_recall": AssociativeRecallSpec,
    "induction": InductionSpec,
    "subset_recall": SubsetRecallSpec,
    "noise": NoiseSpec,
    "sparse_parity": SparseParitySpec,
    "modular_addition": ModularAdditionSpec,
    "multi_query_recall": MultiQueryRecallSpec,
    "custom": CustomTask,
}
"""Every kind of task."""

TaskSpec = Annotated[SerializeAsAny[SyntheticSpec], of_kind(TASKS)]
