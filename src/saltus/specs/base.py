"""What every description has in common: frozen, validated, an unknown key is an error, and a hash of its content."""

import hashlib
import json
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from saltus.errors import SaltusError

DIGITS = 10
"""Hexadecimal digits of a hash."""


class Spec(BaseModel):
    """A description: frozen, with no unknown keys, that can be hashed by its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hashed_kind: ClassVar[bool] = True
    """Whether the `kind` of this member of a union is part of a hash. Not that of a member that stood alone before
    there was a union: old hashes stay what they were."""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SaltusError(_one_sentence(type(self), error)) from None

    @property
    def unhashed(self) -> frozenset[str]:
        """Keys that decide no number, such as a name, or how the results are read."""
        return frozenset()

    @property
    def content_hash(self) -> str:
        """`DIGITS` hexadecimal digits of everything that decides the numbers.

        Keys at their defaults are left out, so that one that is added later changes no hash. Hence no default may
        change. Kinds are defaults too, and so are listed apart.
        """
        return self._hash(self.unhashed)

    @property
    def former_hash(self) -> str:
        """The hash by which version 0.1 named its folders."""
        return digest(self.model_dump(mode="json"))

    @property
    def folder_hashes(self) -> tuple[str, ...]:
        """Hashes that may name its folder: that of this version first, then those of the versions before."""
        return self.content_hash, self.former_hash

    def identify(self, name: str) -> str:
        """`name-hash`, the name of a folder of results."""
        return f"{name}-{self.folder_hashes[0]}"

    def _hash(self, without: Iterable[str], parts: Mapping[str, set[str]] | None = None) -> str:
        """The hash of all but these keys, and but the keys of parts that `parts` names."""
        exclude: dict[str, Any] = dict.fromkeys(without, True) | dict(parts or {})
        values = self.model_dump(mode="json", exclude=exclude, exclude_defaults=True)
        return digest(values | {"kinds": [part.kind for part in self._list_parts() if part.hashed_kind]})

    def _list_parts(self) -> Iterable[Any]:
        """The descriptions in this one that have a kind, in the order of the keys, each before those in it."""
        for name in type(self).model_fields:
            value: Any = getattr(self, name)
            for part in value if isinstance(value, tuple) else (value,):  # pyright: ignore[reportUnknownVariableType]
                if isinstance(part, Spec) and "kind" in type(part).model_fields:
                    yield part
                    yield from part._list_parts()


def digest(values: Any) -> str:
    """The first `DIGITS` hexadecimal digits of the SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _one_sentence(spec: type[Spec], error: ValidationError) -> str:
    """The first problem of a pydantic error as one sentence: field, value, what is allowed."""
    problems = error.errors(include_url=False)
    # A key that is misspelt is missing too: the first says more.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    # What no member of a union takes is one problem, with a message from each member; their names are no place.
    same = [p for p in problems if p["loc"][:1] == first["loc"][:1] and p["input"] is first["input"]]
    parts = [str(part) for part in first["loc"] if isinstance(part, int) or part == first["loc"][0]]
    place = ".".join([spec.__name__, *parts])
    more = len(problems) - len(same)
    tail = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"{place}: there is no such key; allowed are {', '.join(spec.model_fields)}{tail}"
    if first["type"] == "union_tag_not_found":
        return f"{place}: the key {first.get('ctx', {})['discriminator']} is required in it and was not given{tail}"
    if first["type"] == "missing":
        return f"{place}: this key is required and was not given{tail}"
    if first["type"] == "value_error":
        return f"{place}: {first['msg'].removeprefix('Value error, ')}{tail}"
    given = " ".join(reprlib.repr(first["input"]).split())
    allowed = " or ".join(dict.fromkeys(p["msg"][0].lower() + p["msg"][1:] for p in same))
    return f"{place}: {given} was given; {allowed}{tail}"
