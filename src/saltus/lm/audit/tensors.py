"""The tensors in a checkpoint's files, read in blocks, whatever memory there is."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from saltus.lm.suites.base import MissingCheckpoint
from saltus.lm.suites.weights import is_constant, strip_wrappers

_BLOCK = 1 << 20  # weights; what is in memory at once
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, order=True)
class StoredTensor:
    """One tensor of a checkpoint."""

    name: str
    """In the model itself, without what wrappers put before it."""
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Byte in the file at which its values begin."""
    end: int

    @property
    def is_weight(self) -> bool:
        """Whether it holds floating-point numbers, and is no mask or frequency of an old checkpoint."""
        return self.dtype in _FLOATS and not is_constant(self.name)

    def blocks(self) -> Iterator[bytes]:
        """Its bytes, in whole numbers of `_BLOCK` values (at most 8 bytes each) and a rest."""
        width = np.dtype(_FLOATS.get(self.dtype, "<u1")).itemsize
        with self.path.open("rb") as file:
            file.seek(self.start)
            for start in range(self.start, self.end, _BLOCK * width):
                yield file.read(min(_BLOCK * width, self.end - start))

    def to_floats(self, block: bytes) -> NDArray[np.float64]:
        """The values of a block."""
        values = np.frombuffer(block, dtype=_FLOATS[self.dtype])
        if self.dtype == "BF16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float64)


def list_tensors(folder: Path) -> list[StoredTensor]:
    """All tensors of a checkpoint, by name.

    Raises:
        MissingCheckpoint: if there are none, or a file cannot be read.

    """
    tensors = sorted(tensor for path in folder.glob("*.safetensors") for tensor in _read_header(path))
    if not tensors:
        raise MissingCheckpoint(f"{folder} holds no safetensors weights; other formats are not read")
    return tensors


def round_to_bfloat16(values: NDArray[np.float64]) -> bytes:
    """As loading in that precision rounds: to the nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def round_to_float16(values: NDArray[np.float64]) -> bytes:
    """As loading in that precision rounds; what is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype("<f2").tobytes()


def _read_header(path: Path) -> Iterator[StoredTensor]:
    try:
        with safe_open(path, framework="numpy"):  # checks the header, and that the file is as long as it says
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise MissingCheckpoint(f"{path} cannot be read ({error})") from None
    header.pop("__metadata__", None)
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        yield StoredTensor(strip_wrappers(name), path, entry["dtype"], tuple(entry["shape"]), start, end)
