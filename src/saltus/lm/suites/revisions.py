"""A suite in the revisions of repositories on the hub: `hub:OWNER/NAME`, several repositories with commas in between.

A revision is a checkpoint where its name says a step, such as `step1000`, `checkpoint-1000` or
`stage1-step1000-tokens5B`. What else is in the name, such as `stage1`, goes into the name of the size; a repository
whose name says a seed, such as `NAME-seed3`, is that seed. A pattern says it otherwise: `hub:OWNER/NAME@main-{step}`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from saltus.errors import SaltusError
from saltus.labels import (
    compile_pattern,
    describe_model,
    find_step,
    find_tokens,
    read_pattern,
    read_tokens,
    strip_step,
)
from saltus.lm.suites.hub import Hub
from saltus.lm.suites.listed import Entry, check_pattern, check_step, name_run

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_SHOWN = 3
"""Revisions that are named in a message."""


@dataclass(frozen=True)
class Revision:
    """A revision of a repository on the hub; a place of a checkpoint."""

    hub: Hub
    repository: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"

    def locate(self) -> Path | None:
        """See `Place`."""
        return self.hub.locate(self.repository, self.revision)

    def fetch(self) -> Path:
        """See `Place`."""
        return self.hub.fetch(self.repository, self.revision)


def list_revisions(text: str, hub: Hub) -> Iterator[Entry]:
    """The checkpoints of `OWNER/NAME,OWNER/NAME@PATTERN`, by repository and step; offline those that are cached.

    Raises:
        SaltusError: if a repository cannot be asked, or has none.

    """
    names, _, pattern = text.partition("@")
    if pattern:
        check_pattern(pattern)
    for repository in (check_repository(name.strip()) for name in names.split(",")):
        revisions = hub.list_revisions(repository)
        entries = [entry for name in revisions if (entry := _read(Revision(hub, repository, name), pattern))]
        if not entries:
            some = (
                f" ({', '.join(revisions[:_SHOWN])}{', ...' if len(revisions) > _SHOWN else ''})" if revisions else ""
            )
            where = "that is cached" if hub.offline else "of it"
            raise SaltusError(
                f"{repository} has no checkpoint: none of the {len(revisions)} revisions {where}{some} "
                f"{f'fits {pattern}' if pattern else 'names a step'}; describe them as in hub:OWNER/NAME@step{{step}}"
            )
        yield from sorted(entries, key=lambda entry: (entry.run.size, entry.run.seed, entry.step))


def check_repository(name: str) -> str:
    """The name, if it can be one of a repository.

    Raises:
        SaltusError: if not.

    """
    if not _REPOSITORY.fullmatch(name):
        raise SaltusError(f"{name!r} is no repository; write OWNER/NAME as on the hub")
    return name


def _read(place: Revision, pattern: str) -> Entry | None:
    """The checkpoint that a revision is, by a pattern or by the usual words in its name; None where it is none."""
    named = describe_model(place.repository)
    if pattern:
        expression = compile_pattern(pattern, whole=True)
        labels, tokens = read_pattern(expression, place.revision), read_tokens(expression, place.revision)
        if labels is None:
            return None
        group, seed, step = labels.fill(named)
    else:
        step, tokens, rest = find_step(place.revision), find_tokens(place.revision), strip_step(place.revision)
        if step is None:
            return None
        group, seed = "-".join(part for part in (named.group, rest.replace("/", "-")) if part), named.seed
    return Entry(name_run(group or "", seed or "0", place), check_step(step, place), place, tokens)
