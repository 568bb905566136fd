"""A suite that is a list: checkpoints of runs at steps, each at a place of its own."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from saltus.errors import SaltusError
from saltus.labels import split_pattern
from saltus.lm.suites.base import MissingCheckpoint, Run

_LAST_STEP = 2**31 - 1  # that tables hold
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_NAMES = ("{group}", "{seed}", "{step}", "{tokens}")


class Place(Protocol):
    """Where a checkpoint is. As text it is the place in words, for messages."""

    def locate(self) -> Path | None:
        """The folder of the checkpoint if it is here, unchecked; None where it is not."""
        ...

    def fetch(self) -> Path:
        """The folder of the checkpoint; errors as in `Suite.fetch`."""
        ...


@dataclass(frozen=True)
class Entry:
    """One checkpoint of a list."""

    run: Run
    step: int
    place: Place
    tokens: int | None = None
    """Tokens that the run had seen; None where that is not known."""


class ListedSuite:
    """The checkpoints of a list; its runs are in the order of their first entries."""

    def __init__(self, name: str, entries: Iterable[Entry]) -> None:
        """Raise `SaltusError` where two entries are the same step of the same run."""
        self._name = name
        self._entries: dict[Run, dict[int, Entry]] = {}
        for entry in entries:
            of_run = self._entries.setdefault(entry.run, {})
            if (other := of_run.setdefault(entry.step, entry)) is not entry:
                raise SaltusError(
                    f"{other.place} and {entry.place} are both step {entry.step} of {entry.run}; leave one of them out"
                )

    @property
    def name(self) -> str:
        """As the user gave it."""
        return self._name

    def runs(self) -> Sequence[Run]:
        """All runs."""
        return list(self._entries)

    def steps(self, run: Run) -> Sequence[int]:
        """The steps of the run's entries, increasing."""
        return sorted(self._entries.get(run, ()))

    def tokens(self, run: Run, step: int) -> int | None:
        """See `CountingSuite`."""
        entry = self._entries.get(run, {}).get(step)
        return None if entry is None else entry.tokens

    def locate(self, run: Run, step: int) -> Path | None:
        """See `LocalSuite`."""
        entry = self._entries.get(run, {}).get(step)
        return None if entry is None else entry.place.locate()

    def fetch(self, run: Run, step: int) -> Path:
        """The folder of a checkpoint, from its place."""
        entry = self._entries.get(run, {}).get(step)
        if entry is None:
            raise MissingCheckpoint(f"{self._name} has no step {step} of {run}")
        return entry.place.fetch()


def name_run(group: str, seed: str, where: object) -> Run:
    """The run of these names; `seed` before a digit is dropped. `where` says for a message where they stand.

    Raises:
        SaltusError: if one of them is no label.

    """
    for name in (group, seed):
        if not _LABEL.fullmatch(name):
            raise SaltusError(
                f"{name!r} in {where} is no label; allowed are letters, digits, dots, dashes, plus and underscores, "
                "the first a letter or digit: rename it"
            )
    return Run(group, re.sub(r"^seed(?=[0-9])", "", seed))


def check_step(step: int | None, where: object) -> int:
    """A step that tables can hold; `where` is what names it.

    Raises:
        SaltusError: if it is none.

    """
    if step is None or not 0 <= step <= _LAST_STEP:
        raise SaltusError(f"{where} is no step; allowed are whole numbers from 0 to {_LAST_STEP:,}")
    return step


def check_pattern(pattern: str) -> None:
    """Refuse a pattern of checkpoints that does not say their steps, once."""
    named = [part for part in split_pattern(pattern) if part.startswith("{")]
    if "{step}" not in named or len({*named}) < len(named) or {*named} - {*_NAMES}:
        raise SaltusError(
            f"the pattern is {pattern!r}; it names {{step}}, and besides it {{group}}, {{seed}} and {{tokens}} where "
            "they stand, each at most once"
        )
