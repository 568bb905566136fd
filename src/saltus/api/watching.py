"""The server of the live page: watch, and beside something else."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from saltus.api.shelves import FolderShelf, Shelves, StudyShelf, WatchedStudy
from saltus.arguments import DEFAULT_PORT, AnyPath
from saltus.errors import SaltusError
from saltus.live.server import LOOPBACK, Server, open_socket


def watch(
    paths: Sequence[AnyPath],
    *,
    studies: Sequence[WatchedStudy] = (),
    port: int = DEFAULT_PORT,
    tell: Callable[[str], object] = lambda address: None,
) -> None:
    """Serve the live page of the folders at some paths, on this machine alone, until it is interrupted.

    Args:
        paths: folders of results, or folders that hold some; they may appear later.
        studies: whose cells and races are shown as well; their files are executed.
        port: 0 is any port that is free.
        tell: is given the address as soon as it can be opened.

    Raises:
        SaltusError: if a path is a file, a study cannot be loaded, or the port cannot be listened on.

    """
    folders = [Path(path) for path in paths]
    if files := [path for path in folders if path.exists() and not path.is_dir()]:
        raise SaltusError(f"{files[0]} is a file; give the folder of a training, or one that holds several")
    shelf = Shelves([*map(StudyShelf, studies), FolderShelf(folders)])
    with open_socket(port) as listener:
        listener.listen()
        tell(f"http://{LOOPBACK}:{listener.getsockname()[1]}/")
        Server(shelf).run(sockets=[listener])


@contextmanager
def watch_beside(
    paths: Sequence[AnyPath],
    *,
    studies: Sequence[WatchedStudy] = (),
    port: int = DEFAULT_PORT,
    tell: Callable[[str], object],
) -> Generator[None, None, None]:
    """Serve the live page from a process of its own while something else is done; arguments as of `watch`."""
    context = get_context("spawn")
    near, far = context.Pipe(duplex=False)
    server = context.Process(target=_serve, args=(list(paths), list(studies), port, far), daemon=True)
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


def _serve(paths: Sequence[AnyPath], studies: Sequence[WatchedStudy], port: int, connection: Connection) -> None:
    """In the process of the server: tell the address, or why there is none."""
    try:
        watch(paths, studies=studies, port=port, tell=connection.send)
    except SaltusError as error:
        connection.send(error)
    except KeyboardInterrupt:  # the terminal's Ctrl-C reaches this process too
        pass
