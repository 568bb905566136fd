"""A console of a notebook: one output for each call, in which what is at work is shown in place of what it was before.

Anything else that prints in a notebook leaves an output for each line, and a bar one for each time that it moves.
"""

import time
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType

WIDTH = 100
"""Of what is shown, in signs."""

_BETWEEN = 0.25
"""Seconds between two states of what is at work: each is sent whole."""


class NotebookConsole(Console):
    """Prints below what it printed in the same cell before."""

    def __init__(self) -> None:
        super().__init__(file=StringIO(), record=True, width=WIDTH, force_terminal=True, force_jupyter=False)
        self._parts: list[tuple[str, str]] = []
        """What was printed, as HTML and as text."""
        self._work: int | None = None
        """Which of the parts is what was at work last."""
        self._handle: Any = None
        self._cell: int | None = None

    def print(self, *objects: Any, **options: Any) -> None:
        """As `rich.console.Console.print`."""
        self._enter()
        self._parts.append(self._render(*objects, **options))
        self._publish()

    def begin(self, work: RenderableType) -> None:
        """Show what is at work now; of what was before it in this cell, only lines are kept."""
        self._enter()
        if self._work is not None:
            del self._parts[self._work]
        self._work = len(self._parts)
        self._parts.append(self._render(work))
        self._publish()

    def renew(self, work: RenderableType) -> None:
        """Show how far it is, wherever it was begun."""
        if self._work is not None:
            self._parts[self._work] = self._render(work)
            self._publish()

    def _render(self, *objects: Any, **options: Any) -> tuple[str, str]:
        super().print(*objects, **options)
        text = self.export_text(clear=False)
        return self.export_html(clear=True, inline_styles=True, code_format="{code}"), text

    def _enter(self) -> None:
        """Begin an output where this is another cell than before."""
        from IPython.core.getipython import get_ipython

        if (cell := getattr(get_ipython(), "execution_count", None)) != self._cell:
            self._cell, self._parts, self._work, self._handle = cell, [], None, None

    def _publish(self) -> None:
        from IPython.display import display

        html = "".join(part for part, _ in self._parts)
        data = {
            "text/html": f'<pre style="line-height:1.2">{html}</pre>',
            "text/plain": "".join(text for _, text in self._parts),
        }
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


class NotebookLive:
    """What `rich.live.Live` is on a terminal: shown from start to stop, and its last state stays."""

    def __init__(self, work: RenderableType, console: NotebookConsole) -> None:
        self._work, self._console = work, console
        self._shown = 0.0

    def start(self) -> None:
        """Show it."""
        self._console.begin(self._work)

    def update(self, work: RenderableType) -> None:
        """Show something else from now on."""
        self._work = work
        self.refresh()

    def refresh(self) -> None:
        """Show how far it is, unless that was done just now."""
        if (now := time.monotonic()) - self._shown >= _BETWEEN:
            self._shown = now
            self._console.renew(self._work)

    def stop(self) -> None:
        """Show its last state."""
        self._console.renew(self._work)


def open_console() -> Console:
    """What says what happens where no console was given: in a notebook one of its own kind."""
    console = Console()
    return NotebookConsole() if console.is_jupyter else console
