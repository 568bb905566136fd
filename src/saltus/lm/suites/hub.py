"""Checkpoints from the Hugging Face hub: each is fetched whole, verified, and kept in a cache of saltus's own.

FOLDER/REPOSITORY/
  REVISION/        configuration, tokenizer, safetensors weights, and manifest.json with their hashes
  REVISION.lock    held by the one who fetches the checkpoint or by those who use it; its time is that of the last fetch

A folder appears whole or not at all, and a revision that is there is not asked for again.
"""

import errno
import json
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import quote, unquote

from filelock import ReadWriteLock, Timeout

from saltus.errors import SaltusError
from saltus.lm.suites.base import TOKENIZER_FILES, MissingCheckpoint, UnreachableCheckpoint
from saltus.storage.files import explain_full_disk, hash_file, remove, write_folder

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

T = TypeVar("T")

_WANTED = re.compile(
    r"config\.json|generation_config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|"
    + "|".join(map(re.escape, TOKENIZER_FILES))
)
_REVISION = re.compile(r"(?!.*\.(?:partial|lock)$)[A-Za-z0-9][\w.+/-]*", re.ASCII)
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_LONGEST_WAIT = 900.0  # seconds, whatever the hub asks for


class _DifferentFile(Exception):  # noqa: N818 - never leaves this module
    """A file is not what the hub announced."""


class Hub:
    """Fetches revisions of repositories.

    The checkpoint that is being fetched and the one fetched before it are in use: they are never dropped to keep within
    the disk budget, and neither are those that another process uses.
    """

    def __init__(
        self,
        folder: Path,
        *,
        endpoint: str | None = None,
        offline: bool = False,
        disk_bytes: int | None = None,
        attempts: int = 5,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Keep checkpoints in `folder`, at most `disk_bytes` of them if that is given.

        What may pass is tried `attempts` times, with `sleep` called in between with seconds; offline nothing is asked.
        """
        self.folder = folder
        self.endpoint = endpoint
        self.offline = offline
        self.disk_bytes = disk_bytes
        self.attempts = attempts
        self.sleep = sleep
        self._turn = threading.Lock()
        self._held: dict[Path, ReadWriteLock] = {}  # each held for reading
        weakref.finalize(self, _release, self._held)

    def __reduce__(self) -> tuple[Callable[[], "Hub"], tuple[()]]:
        """What another process makes of it: the same hub, in which nothing is in use yet."""
        given = ("endpoint", "offline", "disk_bytes", "attempts", "sleep")
        return partial(Hub, self.folder, **{name: getattr(self, name) for name in given}), ()

    def fetch(self, repository: str, revision: str) -> Path:
        """The folder of a revision, from the cache or fetched now; errors as in `Suite.fetch`."""
        target = self._find_target(repository, revision)
        with self._turn, explain_full_disk(target):
            others = [path for path in self._held if path != target]
            for path in {target, *others[:-1]} & self._held.keys():
                self._held.pop(path).close()
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = ReadWriteLock(_find_lock(target), is_singleton=False)
            try:
                lock.acquire_read()
                whole = target.is_dir() and _is_intact(target)
                while not whole:
                    if self.offline:
                        self._refuse_offline(repository, revision)
                    lock.release()
                    with lock.write_lock():
                        if not (target.is_dir() and _is_intact(target)):
                            self._download(repository, revision, target)
                    lock.acquire_read()
                    whole = target.is_dir()  # another process may have dropped it while the lock changed
                os.utime(_find_lock(target))
            except BaseException:
                lock.close()
                raise
            self._held[target] = lock
        return target

    def locate(self, repository: str, revision: str) -> Path | None:
        """The folder of a revision that is in the cache, unchecked; None where it is not."""
        folder = self._find_target(repository, revision)
        return folder if folder.is_dir() else None

    def list_cached(self, repository: str) -> list[str]:
        """The revisions of a repository that are in the cache, by name."""
        folders = self._folder_of(repository).glob("*/manifest.json")
        return sorted(unquote(path.parent.name) for path in folders if path.parent.suffix != ".partial")

    def list_revisions(self, repository: str) -> list[str]:
        """The branches and tags of a repository, by name; offline the revisions in the cache.

        Raises:
            SaltusError: if there is no such repository, or the hub cannot be asked now.

        """
        if self.offline:
            return self.list_cached(repository)
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, library_name="saltus")
        refs = self._insist(lambda: api.list_repo_refs(repository), repository, repository)
        names = {ref.name for ref in (*refs.branches, *refs.tags)}
        return sorted(name for name in names if is_revision(name))

    def _folder_of(self, repository: str) -> Path:
        return self.folder / repository.replace("/", "--")

    def _find_target(self, repository: str, revision: str) -> Path:
        return self._folder_of(repository) / quote(revision, safe="")

    def _download(self, repository: str, revision: str, target: Path) -> None:
        from huggingface_hub import HfApi

        what = f"{repository} at {revision}"
        api = HfApi(endpoint=self.endpoint, library_name="saltus")
        info = self._insist(
            lambda: api.model_info(repository, revision=revision, files_metadata=True, timeout=30), repository, what
        )
        files = [file for file in info.siblings or () if _WANTED.fullmatch(file.rfilename)]
        names = {file.rfilename for file in files}
        if not any(name.endswith(".safetensors") for name in names):
            raise MissingCheckpoint(f"{what} holds no safetensors weights; other formats are not read")
        if "config.json" not in names:
            raise MissingCheckpoint(f"{what} holds no config.json")
        for leftover in (target, target.with_name(f"{target.name}.partial")):
            remove(leftover)
        self._make_room(sum(file.size or 0 for file in files), what)
        write_folder(target, lambda partial: self._fill(partial, repository, info.sha or revision, files))

    def _fill(self, folder: Path, repository: str, commit: str, files: Sequence["RepoSibling"]) -> None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import tqdm

        class Silence(tqdm):
            """No progress bar: the command line draws its own."""

            def __init__(self, *arguments: object, **options: object) -> None:
                super().__init__(*arguments, **{**options, "disable": True})

        def fetch_file(file: "RepoSibling") -> None:
            path = Path(
                hf_hub_download(
                    repository,
                    file.rfilename,
                    revision=commit,
                    local_dir=folder,
                    cache_dir=folder,  # or the client would look for the file in the user's own cache
                    endpoint=self.endpoint,
                    library_name="saltus",
                    tqdm_class=Silence,
                )
            )
            cut = file.size is not None and path.stat().st_size != file.size
            if cut or (file.lfs is not None and hash_file(path) != file.lfs.sha256):
                path.unlink()
                raise _DifferentFile(file.rfilename)

        for file in files:
            self._insist(
                lambda file=file: fetch_file(file), repository, f"{file.rfilename} of {repository} at {commit}"
            )
        remove(folder / ".cache")  # the client's notes

    def _make_room(self, needed: int, what: str) -> None:
        """Drop the least recently fetched checkpoints until `needed` bytes fit into the budget."""
        if self.disk_bytes is None:
            return
        sizes = {path: _measure(path) for path in self.folder.glob("*/*") if path.is_dir()}
        for path in sorted(sizes, key=_last_fetched) if needed <= self.disk_bytes else ():
            if sum(sizes.values()) + needed <= self.disk_bytes:
                return
            if _drop(path):
                del sizes[path]
        if (used := sum(sizes.values())) + needed > self.disk_bytes:
            raise SaltusError(
                f"the disk budget is {self.disk_bytes:,} bytes, but {what} takes {needed:,} beside the {used:,} of "
                f"checkpoints in use; allow at least {used + needed:,}"
            )

    def _insist(self, act: Callable[[], T], repository: str, what: str) -> T:
        """Call `act` until it succeeds; after what may pass, wait as the hub asks, or twice as long each time."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return act()
            except Exception as error:  # noqa: BLE001 - the client, its HTTP and its transfer library share no base
                _raise_lasting(error, repository, what)
                if attempt >= self.attempts:
                    self._give_up(error, repository, what)
                wait = _read_retry_after(error)
            self.sleep(2.0 ** (attempt - 1) if wait is None else min(wait, _LONGEST_WAIT))

    def _give_up(self, error: Exception, repository: str, what: str) -> NoReturn:
        if isinstance(error, _DifferentFile):
            raise MissingCheckpoint(
                f"{what} differed from what the hub announced in each of {self.attempts} downloads"
            ) from None
        raise SaltusError(
            f"the hub could not be asked for {what} in {self.attempts} attempts ({_shorten(error)}); check the network "
            f"and run the same command again: it resumes. {self._describe_cache(repository)}"
        ) from None

    def _refuse_offline(self, repository: str, revision: str) -> NoReturn:
        raise UnreachableCheckpoint(
            f"{repository} at {revision} is not in {self.folder}, or is damaged there, and offline nothing is fetched; "
            f"go online, or ask only for what is there. {self._describe_cache(repository)}"
        )

    def _describe_cache(self, repository: str) -> str:
        cached = self.list_cached(repository)
        names = f" ({', '.join(cached[:5])}{', ...' if len(cached) > 5 else ''})" if cached else ""
        return f"Of {repository} {len(cached)} checkpoints are cached{names}"


def is_revision(name: str) -> bool:
    """Whether a revision of this name can be kept in the cache; git allows some others."""
    return _REVISION.fullmatch(name) is not None


def _raise_lasting(error: Exception, repository: str, what: str) -> None:
    """Raise what no repetition would mend; return if it may pass."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    cause = _find_cause(error)
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        if isinstance(cause, GatedRepoError) or status in (401, 403):
            raise SaltusError(
                f"the hub refuses {repository} ({status}): it is gated or private, or there is no such repository; "
                "log in with `hf auth login` to an account that may read it, or leave it out"
            ) from None
        if isinstance(cause, RepositoryNotFoundError | RevisionNotFoundError | RemoteEntryNotFoundError):
            raise MissingCheckpoint(f"the hub has no {what}") from None
        if status not in (408, 429) and status < 500:
            raise SaltusError(
                f"the hub answered {status} to the request for {what}; check the endpoint and any proxy"
            ) from None
    elif isinstance(cause, OfflineModeIsEnabled):
        raise SaltusError(
            f"{what} is not cached, and the hub client is set to offline; unset HF_HUB_OFFLINE and try again"
        ) from None
    elif isinstance(cause, OSError) and cause.errno in _DISK_ERRORS:
        raise cause


def _find_cause(error: Exception) -> BaseException:
    """What went wrong behind the client's remark that a file is not in its cache either."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    return error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error


def _read_retry_after(error: Exception) -> float | None:
    """Seconds that the hub asks to wait, if it does."""
    from huggingface_hub.errors import HfHubHTTPError

    cause = _find_cause(error)
    value = cause.response.headers.get("Retry-After", "") if isinstance(cause, HfHubHTTPError) else ""
    return float(value) if value.isdecimal() else None


def _shorten(error: Exception) -> str:
    cause = _find_cause(error)
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:200]


def _is_intact(folder: Path) -> bool:
    """Whether the files of a checkpoint are what was fetched."""
    try:
        hashes = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return all(hash_file(folder / name) == value for name, value in hashes.items())
    except (OSError, ValueError, RecursionError):
        return False


def _release(held: dict[Path, ReadWriteLock]) -> None:
    while held:
        held.popitem()[1].close()


def _find_lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name.removesuffix('.partial')}.lock")


def _last_fetched(folder: Path) -> int:
    """In nanoseconds since the epoch; 0 if unknown."""
    lock = _find_lock(folder)
    return lock.stat().st_mtime_ns if lock.exists() else 0


def _measure(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _drop(folder: Path) -> bool:
    """Remove a checkpoint unless it is in use; whether it was removed."""
    lock = ReadWriteLock(_find_lock(folder), is_singleton=False)
    try:
        with lock.write_lock(blocking=False):
            remove(folder)
    except Timeout:
        return False
    finally:
        lock.close()
    return True
