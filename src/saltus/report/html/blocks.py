"""What a page is made of: sections, each a list of blocks, which one template renders in order."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan
from typing import Any, ClassVar, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

View = tuple[go.Figure, str]
"""A figure and its caption."""


@dataclass(frozen=True)
class Text:
    """A paragraph, with a list beneath it if there are items."""

    kind: ClassVar[str] = "text"
    text: str
    style: Literal["note", "warning"] = "note"
    items: Sequence[str] = ()


@dataclass(frozen=True)
class Folded:
    """What most readers skip: settings by group, or code."""

    kind: ClassVar[str] = "folded"
    title: str
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    code: str = ""


@dataclass(frozen=True)
class Chooser:
    """Something to choose from a list."""

    key: str
    label: str
    options: Sequence[str]
    chosen: int = 0
    """Index of the option that is shown first."""
    note: str = ""


@dataclass(frozen=True)
class FigureViews:
    """A figure for each combination of choices, beneath its title; hidden where a combination has none."""

    kind: ClassVar[str] = "figure"
    key: str
    title: str
    alt: str
    """What is drawn, for those who do not see it."""
    views: Mapping[str, View]
    """By the indices of the options, such as `0,2`."""
    by: tuple[str, ...] = ()
    """Keys of the choosers on which it depends."""
    marks: tuple[str, ...] = ()
    """Keys of the choosers whose option is emphasised: the traces with this index under the key in their `meta`."""

    def find_view(self, choices: Mapping[str, int]) -> View | None:
        """What is shown with these choices."""
        return self.views.get(",".join(str(choices[key]) for key in self.by))

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        views = {key: {"figure": _to_json(figure), "caption": caption} for key, (figure, caption) in self.views.items()}
        return {"by": self.by, "marks": self.marks, "views": views}


@dataclass(frozen=True)
class Grid:
    """Figures that share a colour scale and a caption; theirs are empty."""

    kind: ClassVar[str] = "grid"
    title: str
    blocks: Sequence[FigureViews]
    ends: tuple[str, str]
    """The values at the two ends of the diverging scale."""
    caption: str


@dataclass(frozen=True)
class Panel:
    """One map of weights."""

    title: str
    weights: str
    """[frame, row, key] base64 of bytes: 255 times the square root of a weight from 0 to 1. One frame stands for all.
    Empty if it was not kept."""


@dataclass(frozen=True)
class MapsView:
    """The maps of one option."""

    rows: Sequence[str]
    """[row] names of the queries."""
    labels: Sequence[str]
    """[row] the same, short enough to stand beside the row."""
    count: int
    """How many keys there are."""
    visible: Sequence[int]
    """[row] how many keys the query may attend to."""
    groups: Sequence[tuple[str, Sequence[Panel]]]
    """Panels with the title of their group."""
    keys: Sequence[str] = ()
    """[key] labels; empty if the keys are numbered."""
    there: Sequence[Sequence[int]] = ()
    """[frame, row] 1 where the label is emphasised."""


@dataclass(frozen=True)
class Maps:
    """Maps of attention or influence, over the frames of a player if there are several."""

    kind: ClassVar[str] = "maps"
    key: str
    title: str
    caption: str
    by: str
    """Key of the chooser on which it depends."""
    views: Sequence[MapsView]
    """[option]"""
    frames: Sequence[str] = ()
    """[frame] such as `step 20`; empty if there is one frame."""
    marked: tuple[str, str] | None = None
    """Name of the marked cells, such as `true keys`, and [row, key] base64 of bytes, 1 in a marked cell."""


@dataclass(frozen=True)
class Beyond:
    """A step that was not reached: `> 80`; empty in a file."""

    step: int


Cell = str | int | float | Beyond | None


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    """As in a file."""
    label: str = ""
    """As on the page; the name, with spaces, if empty."""
    digits: int = 3
    """Of what is not an integer."""
    style: Literal["number", "name", "text"] = "number"
    """Names are cut off where they are long, texts are wrapped."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    cells: Sequence[Cell]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows beneath a title, which may be folded away and may be offered as a file."""

    kind: ClassVar[str] = "table"
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""
    file: str = ""
    """Name of the file; empty if none is offered."""
    folded: bool = False


@dataclass(frozen=True)
class Part:
    """Blocks beneath one title, with the choices that they share."""

    kind: ClassVar[str] = "part"
    title: str
    blocks: Sequence["Block"]
    choosers: Sequence[Chooser] = ()


Block = Text | Folded | FigureViews | Grid | Maps | Table | Part


@dataclass(frozen=True)
class Section:
    """All that a page says of one thing, such as a run."""

    name: str
    question: str
    """Such as `When did it emerge?`"""
    headline: str
    """The answer in a sentence or two."""
    blocks: Sequence[Block]
    essence: str = ""
    """What was done, in a line."""

    @property
    def choices(self) -> dict[str, int]:
        """What is chosen at first, by the key of the chooser."""
        parts = [block for block in _walk(self.blocks) if isinstance(block, Part)]
        return {chooser.key: chooser.chosen for part in parts for chooser in part.choosers}

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        blocks = list(_walk(self.blocks))
        return {
            "choices": self.choices,
            "figures": {block.key: block.data for block in blocks if isinstance(block, FigureViews)},
            "maps": {block.key: asdict(block) for block in blocks if isinstance(block, Maps)},
        }


def pack_weights(weights: NDArray[Any]) -> str:
    """Weights from 0 to 1, of any shape, as a panel holds them; NaN is 0."""
    return pack_bytes(np.sqrt(np.clip(np.nan_to_num(weights.astype(np.float32)), 0.0, 1.0)) * 255.0)


def pack_bytes(values: NDArray[Any]) -> str:
    """Integers from 0 to 255 as base64 of bytes."""
    return b64encode(values.astype(np.float32).round().astype(np.uint8).tobytes()).decode("ascii")


def show_cell(cell: Cell, digits: int) -> tuple[str, str]:
    """A cell as the page shows it, and as a file holds it."""
    match cell:
        case None:
            return "", ""
        case Beyond(step):
            return f"> {step}", ""
        case float() if isnan(cell):
            return "\N{EN DASH}", ""
        case float():
            return (text := f"{cell:z.{digits}f}"), text
        case _:
            return str(cell), str(cell)


def _walk(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Part | Grid):
            yield from _walk(block.blocks)


def _to_json(figure: go.Figure) -> Any:
    """A figure as plotly's script reads it."""
    return json.loads(str(figure.to_json()))
