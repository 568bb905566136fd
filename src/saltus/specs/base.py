"""What every description has in common: frozen, validated, an unknown key is an error."""

import reprlib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from saltus.errors import SaltusError


class Spec(BaseModel):
    """A description: frozen, with no unknown keys, that can be hashed by its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SaltusError(_one_sentence(type(self), error)) from None


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
