"""Files that the user brings: read within bounds, as UTF-8, and known by their hash."""

import hashlib
from pathlib import Path

from saltus.errors import SaltusError


class ChangedFileError(SaltusError):
    """A file of the user's that is gone, or is another one by now."""


def read_bounded(path: Path, most_bytes: int, what: str) -> bytes:
    """The content of a file, which is `what`, such as `a file of prompts`.

    Raises:
        ChangedFileError: if it cannot be read.
        SaltusError: if it is larger than `most_bytes`.

    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise ChangedFileError(f"{path} cannot be read ({error.strerror}); give the path of {what}") from None
    if len(content) > most_bytes:
        raise SaltusError(f"{path} is larger than {most_bytes:,} bytes, the most that is allowed; split it")
    return content


def decode(path: Path, content: bytes) -> str:
    """The content as text, without a byte order mark.

    Raises:
        SaltusError: if it is not UTF-8.

    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SaltusError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def require_unchanged(name: str, content: bytes, sha256: str) -> None:
    """Refuse content of another hash than a description says.

    Raises:
        ChangedFileError: if the hash is another.

    """
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ChangedFileError(
            f"{name} has changed since the scan was described; undo the change, or describe a new scan with it"
        )
