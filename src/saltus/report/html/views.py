"""Figures of which the reader chooses what they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Chooser:
    """Something to choose from a list."""

    key: str
    label: str
    options: Sequence[str]
    chosen: int
    """Index of the option that is shown first."""

    @property
    def several(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.options) > 1


@dataclass(frozen=True)
class FigureViews:
    """A figure for each combination of some choices."""

    by: tuple[str, ...]
    """Keys of the choosers that it depends on."""
    views: dict[str, tuple[Any, str]]
    """Figure and caption by the indices of the options, such as `0,2`; there may be none for some of them."""
    first: dict[str, int]
    """What is chosen at first."""

    @property
    def caption(self) -> str | None:
        """Of what is shown first; None where there is nothing for it."""
        view = self.views.get(",".join(str(self.first[key]) for key in self.by))
        return None if view is None else view[1]

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        views = {key: {"figure": figure, "caption": caption} for key, (figure, caption) in self.views.items()}
        return {"by": list(self.by), "views": views}
