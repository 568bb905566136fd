"""The folder of results, the base of every kind: described once, held by one writer, finished once, read with remedies.

NAME-HASH/
  DESCRIPTION.json   what is asked; the hash in the folder's name is that of its content
  ...                what is committed on the way, which each kind lays out for itself
  records/           all of it, once it has finished
  finished.json      a summary (versions, machine, duration); its presence says that it is done
  failed.json        why the last attempt ended; the next one removes it
"""

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from saltus.errors import SaltusError
from saltus.shown import Shown
from saltus.specs.base import DIGITS, Spec
from saltus.storage.files import HeldError, explain_full_disk, hold, is_held, remove, sweep, write_file, write_folder
from saltus.storage.listing import Listing
from saltus.storage.tables import read_json, write_json

S = TypeVar("S", bound=Spec)

AGAIN = "and give the command that made the folder again"

_HASH = re.compile(rf"-([0-9a-f]{{{DIGITS}}})$")


class Folder(Shown, Generic[S]):
    """A folder of results of one kind."""

    kind: ClassVar[str]
    """What it holds, as a noun, such as `run`."""
    description: ClassVar[str]
    """The file that describes it. No two kinds have the same."""
    specs: ClassVar[type[Any]]
    """What the description is read as."""
    named_by_hash: ClassVar[bool] = True
    """Whether a name that ends like a hash does end with one; not where people name their folders themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def finished(self) -> bool:
        """Whether it is done; what is finished is never written to again."""
        return (self.path / "finished.json").exists()

    @property
    def gathered(self) -> bool:
        """Whether all that was committed is in `records/`: then nothing but the summary can be missing."""
        return (self.path / "records").exists()

    @property
    def held(self) -> bool:
        """Whether a process is writing to it."""
        return is_held(self.path)

    def spec(self) -> S:
        """The description that it was started from.

        Raises:
            SaltusError: if it cannot be read, or is not the one that the hash in the folder's name is of.

        """
        path = self.path / self.description
        try:
            spec: S = self.specs(**read_json(path, self.damaged))
        except SaltusError as error:
            if str(path) in str(error):
                raise
            raise self.damaged(path, f"describes no {self.kind} ({error})") from None
        named = _HASH.search(self.path.name)
        if self.named_by_hash and named and named[1] not in spec.folder_hashes:
            raise self.damaged(path, f"was edited: the hash of its content is {spec.folder_hashes[0]}, not {named[1]}")
        return spec

    def require(self, spec: S) -> None:
        """Refuse to go on if it was started from another description; one that is gone is written anew."""
        if not (self.path / self.description).exists():
            self.describe(spec)
        elif self.spec().folder_hashes[0] != (asked := spec.folder_hashes[0]):
            raise SaltusError(
                f"{self.path / self.description} does not describe the {self.kind} {asked} that was asked "
                f"for; undo what was changed in it, or move {self.path} away, and run the same command again"
            )

    def describe(self, spec: S) -> None:
        """Write what is known before anything is done."""
        values = spec.model_dump(mode="json")
        self._write(self.path / self.description, lambda path: write_json(path, values))

    @contextmanager
    def writing(self, spec: S, *, again: bool = False) -> Generator[None, None, None]:
        """Create the folder if it is not there and hold it against other writers.

        With `again` one that is finished may be written to, too.
        """
        with hold(self.path):
            if self.finished and not again:
                raise HeldError(f"{self.path} has just been finished by another process; run the same command again")
            sweep(self.path)
            self.require(spec)
            remove(self.path / "failed.json")
            yield

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Bring what was committed into its last form, and mark the folder as done."""
        with explain_full_disk(self.path):
            self.conclude()
        self._write(self.path / "finished.json", lambda path: write_json(path, dict(summary)))

    def conclude(self) -> None:
        """Gather what was committed into `records/`, unless it is there."""
        if not self.gathered:
            write_folder(self.path / "records", self.gather)

    def gather(self, folder: Path) -> None:
        """Fill `records/` from what was committed."""
        raise NotImplementedError

    def summary(self) -> dict[str, Any]:
        """What `finish` was given."""
        return read_json(self.path / "finished.json", self.damaged)

    def fail(self, reason: str) -> None:
        """Record why an attempt ended."""
        self._write(self.path / "failed.json", lambda path: write_json(path, {"reason": reason}))

    @property
    def failure(self) -> str | None:
        """Why the last attempt ended; None if it did not fail."""
        path = self.path / "failed.json"
        return str(read_json(path, self.damaged).get("reason", "")) if path.exists() else None

    def damaged(self, path: Path, what: str) -> SaltusError:
        """What is wrong with a file, and how to get out of it without losing anything that is whole."""
        return SaltusError(f"{path} {what}; {self.remedy(path)}")

    def remedy(self, path: Path) -> str:
        """How to get out of damage to a file. Each kind adds what it knows of its own parts.

        Nothing that is whole is ever deleted: a description, a summary and records that can be gathered are made anew
        in their place, and what cannot be made anew is moved away.
        """
        first = path.relative_to(self.path).parts[0]
        if first == "records":
            return f"delete {self.path / 'records'}: the records are then gathered from what was committed"
        if path.parent == self.path and path.suffix == ".json":
            return f"delete it {AGAIN}: it is written anew, and everything else is kept"
        return f"move {self.path} away {AGAIN}: it starts anew"

    @classmethod
    def find(cls, root: Path, spec: S, name: str, listing: Listing | None = None) -> Self:
        """The folder of a description under `root`, which need not exist.

        Where it does not, and the same has been finished under another name, or begun by version 0.1, it is that one.
        Who looks for many gives the `listing` of `root`, which is otherwise listed for each that is not there.
        """
        own = cls(root / spec.identify(name))
        if own.path.exists():
            return own
        hashes = dict.fromkeys(spec.folder_hashes)
        if former := next((path for digits in hashes if (path := root / f"{name}-{digits}").exists()), None):
            return cls(former)
        listing = listing or Listing(root)
        others = [cls(path) for digits in hashes for path in listing.hashed(digits)]
        return next((o for o in others if o.finished and (o.path / cls.description).exists()), own)

    @classmethod
    def list(cls, root: Path) -> list[Self]:
        """Those under `root`, by name."""
        paths = (path.parent for path in sorted(root.glob(f"*/{cls.description}")))
        return [cls(path) for path in paths if path.suffix != ".partial"]

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        """Let `write` fill a file, which appears whole or not at all."""
        with explain_full_disk(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, write)
