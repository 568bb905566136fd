"""Files and folders that appear whole or not at all, whatever happens while they are written."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from saltus.errors import SaltusError

_READ = 2**22
"""Bytes that are hashed at a time: the other threads are held up between them."""

_PATIENCE = 0.2
"""Seconds for which a lock is waited for: who looks whether a folder is held takes it for a moment."""

_HELD: set[Path] = set()
"""What this process holds."""


class HeldError(SaltusError):
    """A folder is being written already."""


def write_file(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside the target, bring it to disk, and rename it into place."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        write(partial)
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except BaseException:
        remove(partial)
        raise


def write_folder(target: Path, write: Callable[[Path], object]) -> None:
    """Fill a folder beside the target, list its hashes in it, bring it to disk, and rename it into place."""
    partial = target.with_name(f"{target.name}.partial")
    remove(partial)
    partial.mkdir(parents=True)
    try:
        write(partial)
        list_hashes(partial)
        for path in [*partial.iterdir(), partial]:
            _sync(path)
        partial.replace(target)
        _sync(target.parent)
    except BaseException:
        remove(partial)
        raise


def replace_folder(target: Path, write: Callable[[Path], object]) -> None:
    """As `write_folder`; what stands at the target stays there until the new folder is whole."""
    fresh, former = (target.with_name(f"{target.name}.{word}.partial") for word in ("fresh", "former"))
    write_folder(fresh, write)
    if target.exists():
        target.replace(former)
    fresh.replace(target)
    _sync(target.parent)
    remove(former)


def sweep(folder: Path) -> None:
    """Remove what writers that were ended left below a folder; a folder that one was replacing is put back."""
    for former in folder.rglob("*.former.partial"):
        target = former.with_name(former.name.removesuffix(".former.partial"))
        if not target.exists():
            former.replace(target)
    for leftover in folder.rglob("*.partial"):
        remove(leftover)


def list_hashes(folder: Path) -> None:
    """Write the folder's `manifest.json`: the hash of every file in it."""
    hashes = {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    (folder / "manifest.json").write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8", newline="\n")


@contextmanager
def hold(folder: Path) -> Generator[None, None, None]:
    """Create the folder if it is not there and hold it against other writers."""
    with explain_full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=_PATIENCE, thread_local=False)
        own = folder.resolve()
        try:
            lock.acquire(poll_interval=0.01)
        except Timeout:
            if own in _HELD:
                raise HeldError(
                    f"{folder} is being written by this process; end what writes to it, a monitor by "
                    "monitor.close(), or restart the process"
                ) from None
            raise HeldError(f"{folder} is being written by another process; wait for it or stop it first") from None
    _HELD.add(own)
    try:
        yield
    finally:
        _HELD.discard(own)
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process holds the folder."""
    path = folder / ".lock"
    try:
        if not path.exists():
            return False
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that may not be written is written by nobody from here
        return False


@contextmanager
def explain_full_disk(path: Path) -> Generator[None, None, None]:
    """Turn what goes wrong while `path` is written into one sentence that says what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.errno is None and "No space" not in text:
            raise
        raise SaltusError(
            f"{path} cannot be written ({text}); free space or mend its permissions and run the same command again: "
            "what was whole is kept"
        ) from None


def hash_file(path: Path) -> str:
    """The SHA-256 of its content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        buffer = memoryview(bytearray(min(_READ, os.fstat(file.fileno()).st_size or 1)))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Bring a file, or what a folder lists, to disk; Windows opens no folder, and lists it durably by itself."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes only what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
