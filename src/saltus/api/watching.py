"""Folders as a live page sees them, and the server that shows it: watch."""

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from saltus.api.folders import KINDS, Folder, describe, read_folder
from saltus.arguments import DEFAULT_PORT
from saltus.errors import SaltusError
from saltus.live.server import LOOPBACK, Server, open_socket
from saltus.live.shelf import Glimpse, sign_folder
from saltus.lm.pocket.folder import PocketFolder
from saltus.monitor.folder import MonitorFolder
from saltus.report.html.blocks import Section, Text
from saltus.report.sections import describe as describe_sections
from saltus.train.folder import RunFolder


class FolderShelf:
    """The folders of results at some paths, and those that lie in them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = [path.resolve() for path in paths]
        self._found: dict[str, Folder] = {}
        self._seen: dict[str, tuple[float, Glimpse]] = {}

    def look(self) -> Sequence[Glimpse]:
        """As `Shelf.look`."""
        found = {_name(folder.path): folder for folder in self._list()}
        seen: dict[str, tuple[float, Glimpse]] = {}
        for key, folder in found.items():
            version, changed = sign_folder(folder.path)
            version += "-held" if folder.held else ""
            before = self._seen.get(key)
            seen[key] = before if before and before[1].version == version else (changed, _glimpse(key, folder, version))
        self._found, self._seen = found, seen
        return [glimpse for _, glimpse in sorted(seen.values(), key=lambda each: -each[0])]

    def describe(self, key: str) -> Sequence[Section]:
        """As `Shelf.describe`; trainings of one group are shown with the others of their group."""
        folder = self._found[key]
        try:
            records = [read_folder(folder)]
            if isinstance(folder, MonitorFolder):
                group = folder.spec().group
                others = [other for other in self._found.values() if isinstance(other, MonitorFolder)]
                records += [other.records() for other in others if other is not folder and other.spec().group == group]
            sections = describe_sections(records)
        except SaltusError as error:
            return [Section(folder.path.name, "What has come so far?", "Nothing can be shown yet.", [Text(str(error))])]
        return sections[:1] if isinstance(folder, MonitorFolder) else sections

    def _list(self) -> list[Folder]:
        """Those at the paths themselves, and those one level below; a path may appear later."""
        folders: dict[Path, Folder] = {}
        for path in self._paths:
            for kind in KINDS:
                own = [kind(path)] if (path / kind.description).exists() else []
                folders |= {folder.path: folder for folder in (*own, *kind.list(path))}
        return list(folders.values())


def watch(
    paths: Sequence[Path], *, port: int = DEFAULT_PORT, tell: Callable[[str], object] = lambda address: None
) -> None:
    """Serve the live page of the folders at some paths, on this machine alone, until it is interrupted.

    Args:
        paths: folders of results, or folders that hold some; they may appear later.
        port: 0 is any port that is free.
        tell: is given the address as soon as it can be opened.

    Raises:
        SaltusError: if a path is a file, or the port cannot be listened on.

    """
    if files := [path for path in paths if path.exists() and not path.is_dir()]:
        raise SaltusError(f"{files[0]} is a file; give the folder of a training, or one that holds several")
    with open_socket(port) as listener:
        listener.listen()
        tell(f"http://{LOOPBACK}:{listener.getsockname()[1]}/")
        Server(FolderShelf(paths)).run(sockets=[listener])


@contextmanager
def watch_beside(
    paths: Sequence[Path], *, port: int = DEFAULT_PORT, tell: Callable[[str], object]
) -> Generator[None, None, None]:
    """Serve the live page from a process of its own while something else is done; arguments as of `watch`."""
    context = get_context("spawn")
    near, far = context.Pipe(duplex=False)
    server = context.Process(target=_serve, args=(list(paths), port, far), daemon=True)
    server.start()
    far.close()
    try:
        tell(_receive_address(near))
        yield
    finally:
        near.close()
        server.terminate()
        server.join()


def _receive_address(connection: Connection) -> str:
    """What the process of the server tells, or why there is none."""
    try:
        told = connection.recv()
    except EOFError:
        raise SaltusError("the live page could not be started; leave --watch out, and give `saltus watch`") from None
    if isinstance(told, SaltusError):
        raise told
    return told


def _serve(paths: Sequence[Path], port: int, connection: Connection) -> None:
    """In the process of the server: tell the address, or why there is none."""
    try:
        watch(paths, port=port, tell=connection.send)
    except SaltusError as error:
        connection.send(error)
    except KeyboardInterrupt:  # the terminal's Ctrl-C reaches this process too
        pass


def _name(path: Path) -> str:
    """Stands for a folder in addresses."""
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]


def _glimpse(key: str, folder: Folder, version: str) -> Glimpse:
    listing = describe(folder)
    done, left = _measure_progress(folder) if listing.readable else (None, None)
    return Glimpse(key, listing.name, listing.kind, listing.what, listing.state, version, done, left)


def _measure_progress(folder: Folder) -> tuple[float | None, float | None]:
    """Share of the steps that are done, and the seconds that are left of a run at the pace between its checkpoints.

    The models of a suite differ in pace, and several train at a time: what is left of it is not known.
    """
    match folder:
        case PocketFolder():
            return folder.records().done, None
        case RunFolder():
            return _measure_run(folder)
        case _:
            return None, None


def _measure_run(folder: RunFolder) -> tuple[float | None, float | None]:
    if folder.finished:
        return 1.0, None
    budget, steps = folder.spec().training.steps, folder.checkpoint_steps()
    if not steps:
        return 0.0, None
    times = [(folder.path / "checkpoints" / f"{step:08d}").stat().st_mtime for step in (steps[0], steps[-1])]
    pace = (times[1] - times[0]) / (steps[-1] - steps[0]) if len(steps) > 1 else None
    return steps[-1] / budget, None if pace is None or not folder.held else pace * (budget - steps[-1])
