"""A server on this machine alone: one page, the list of folders as it changes, and the sections about each folder.

    GET /               the page
    GET /plotly.js      what draws it
    GET /live.js        what keeps it up to date
    GET /events         server-sent events: a `list` of all folders whenever anything has changed
    GET /sections/KEY   the sections about a folder, as HTML and as the data behind them

Nothing that is asked changes anything. Requests under another host's name are refused: a page of somebody else that is
open in the same browser cannot read along by a name of its own that points here.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from saltus.errors import SaltusError
from saltus.live.shelf import Glimpse, Shelf
from saltus.report.html.blocks import Section
from saltus.report.html.page import open_templates, render_section
from saltus.report.html.palette import DIVERGING

LOOPBACK = "127.0.0.1"
HOSTS = [LOOPBACK, "localhost"]
"""Names under which it may be asked."""

QUIET = 15.0
"""Seconds after which a connection with nothing to say is given a sign of life."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_HERE = Path(__file__).parent


class Watch:
    """The newest list of folders, and those who wait for the next one."""

    def __init__(self, shelf: Shelf, every: float) -> None:
        self.shelf = shelf
        self._every = every
        self._changed = asyncio.Condition()
        self._listed: Sequence[Glimpse] = ()
        self._number = 0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def follow(self) -> AsyncIterator[str]:
        """The list as server-sent events: at once, whenever it changes, and a comment where nothing does."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        told = 0
        while not self._closed:
            async with self._changed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait_for(partial(self._has_news, told)), QUIET)
                number, listed = self._number, self._listed
            # Nothing is held while a page takes what it is sent: one that stalls stops no other.
            if number > told:
                told = number
                text = json.dumps([asdict(glimpse) for glimpse in listed], allow_nan=False)
                yield f"event: list\ndata: {text}\n\n"
            else:
                yield ": nothing new\n\n"

    async def close(self) -> None:
        """End all that follow."""
        if self._looking:
            self._looking.cancel()
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def _look_on(self) -> None:
        """Look again and again, a tenth of the time at most."""
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            try:
                listed = await run_in_threadpool(self.shelf.look)
            except Exception:  # noqa: BLE001 - a file went, or a shared disk is away: what was known stands
                listed = self._listed
            spent = clock() - before
            async with self._changed:
                if listed != self._listed or not self._number:
                    self._listed, self._number = listed, self._number + 1
                    self._changed.notify_all()
            await asyncio.sleep(max(self._every, 10.0 * spent))

    def _has_news(self, told: int) -> bool:
        return self._number > told or self._closed


class Server(uvicorn.Server):
    """A server whose open connections end with it."""

    def __init__(self, shelf: Shelf, every: float = 1.0) -> None:
        self._watch = Watch(shelf, every)
        app = make_app(self._watch)
        super().__init__(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what follows, then everything else."""
        await self._watch.close()
        await super().shutdown(sockets)


def make_app(watch: Watch) -> Starlette:
    """The application."""

    async def follow(_: Request) -> Response:
        return StreamingResponse(watch.follow(), media_type="text/event-stream", headers=_HEADERS)

    async def show(request: Request) -> Response:
        key = request.path_params["key"]
        try:
            sections = await run_in_threadpool(watch.shelf.describe, key)
        except KeyError:
            return JSONResponse({"error": "there is no such folder any more"}, 404, headers=_HEADERS)
        parts = await run_in_threadpool(_render, sections, key)
        return JSONResponse(parts, headers=_HEADERS)

    page = open_templates(_HERE).get_template("live.html.jinja").render(diverging=DIVERGING)
    script = "\n".join(['"use strict";', open_templates(_HERE).get_template("live.js.jinja").render()])
    texts = {
        "/": (page, "text/html"),
        "/plotly.js": (get_plotlyjs(), "text/javascript"),
        "/live.js": (script, "text/javascript"),
    }

    def serve(path: str) -> Any:
        async def answer(_: Request) -> Response:
            text, kind = texts[path]
            return Response(text, media_type=kind, headers=_HEADERS)

        return answer

    return Starlette(
        routes=[
            *(Route(path, serve(path)) for path in texts),
            Route("/events", follow),
            Route("/sections/{key}", show),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
    )


def _render(sections: Sequence[Section], key: str) -> list[dict[str, Any]]:
    """HTML and data of each section, under numbers that no other folder has."""
    numbers = [f"{key}-{place}" for place in range(len(sections))]
    return [
        {"number": number, "html": render_section(section, number), "data": section.data}
        for number, section in zip(numbers, sections, strict=True)
    ]


def open_socket(port: int) -> socket.socket:
    """A socket on loopback; 0 is any port that is free.

    Raises:
        SaltusError: if the port is taken or not allowed.

    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would take the port of a server that runs
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise SaltusError(f"port: {port} cannot be listened on ({error}); give another one, or 0 for any") from None
    return listener
