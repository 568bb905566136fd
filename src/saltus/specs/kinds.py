"""Unions of descriptions: each is one dictionary, from a kind to the class that describes it."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import BeforeValidator

from saltus.specs.base import Spec


def of_kind(kinds: Mapping[str, type[Spec]], default: str | None = None) -> BeforeValidator:
    """A validator that takes a description of one of `kinds`, or a mapping with the key `kind`.

    `default` is the kind of a mapping without that key, where there was one kind alone before.
    """
    return BeforeValidator(lambda value: _choose(value, kinds, default))


def some_of_kind(kinds: Mapping[str, type[Spec]], default: str | None = None) -> BeforeValidator:
    """As `of_kind`, for None, one description, or several in a list: a list of one is that one, an empty one None."""

    def choose_some(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value if value is None else _choose(value, kinds, default)
        several = tuple(_choose(each, kinds, default) for each in value)  # pyright: ignore[reportUnknownVariableType]
        return several if len(several) > 1 else several[0] if several else None

    return BeforeValidator(choose_some)


def _choose(value: Any, kinds: Mapping[str, type[Spec]], default: str | None) -> Spec:
    if isinstance(value, Spec):
        if type(value) in kinds.values():
            return value
        raise ValueError(f"a {type(value).__name__} was given; allowed are {_list_classes(kinds)}")
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004 - pydantic takes these for problems of the input
            f"{value!r:.60} was given; allowed are {_list_classes(kinds)}"
        )
    given: dict[Any, Any] = dict(value)  # pyright: ignore[reportUnknownArgumentType]  # anybody's mapping
    values = {key if isinstance(key, str) else repr(key): each for key, each in given.items()}
    if default is not None:
        values.setdefault("kind", default)
    if "kind" not in values:
        raise ValueError("the key 'kind' is required in it and was not given")
    kind = values["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"kind is {kind!r:.60}; allowed are {', '.join(kinds)}")
    return kinds[kind](**values)


def find_class(path: str) -> Any:
    """The class at `module:Class`, which is imported only here: descriptions load neither torch nor transformers."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _list_classes(kinds: Mapping[str, type[Spec]]) -> str:
    return ", ".join(kind.__name__ for kind in kinds.values())
