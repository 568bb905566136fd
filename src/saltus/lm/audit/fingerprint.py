"""What is kept of a checkpoint once its weights are gone: hash, norm, and a sketch from which distances are estimated.

A sketch is a sparse random projection (a count sketch): each weight goes with a random sign into one of 4,096 buckets.
It is linear and the same for all checkpoints, so that the distance of two sketches estimates that of the weights, with
a relative error of about 1.1% (sqrt(1 / 8192)), and no two checkpoints need to be on disk at once.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from saltus.lm.suites.base import MissingCheckpoint
from saltus.lm.suites.content import Content, describe_content
from saltus.lm.suites.weights import is_constant, strip_wrappers
from saltus.seeding import Streams

BUCKETS = 4096
_BLOCK = 1 << 20  # weights; what is in memory at once
_STREAMS = Streams(0)  # never another: all sketches must agree
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_IGNORED_KEYS = (
    "_name_or_path",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "use_cache",
)  # say nothing of the model


@dataclass(frozen=True)
class Fingerprint:
    """One checkpoint. Norm and sketch are over its floating-point weights with two axes or more."""

    sha256: str
    """Of names, types, shapes and bytes of all tensors, sorted by name."""
    config: dict[str, Any]
    """`config.json` without what says nothing of the model; `tensors` is a hash of the names and shapes."""
    parameters: int
    norm: float
    """Euclidean, of the finite weights."""
    not_finite: int
    """How many weights are infinite or not a number."""
    sketch: NDArray[np.float32]
    """[bucket]"""
    content: Content | None = None
    """What the files were; None where version 0.1 read them."""


def measure_distance(one: Fingerprint, other: Fingerprint) -> float:
    """Estimated Euclidean distance of the weights."""
    return float(np.linalg.norm(one.sketch.astype(np.float64) - other.sketch))


def measure_cosine(one: Fingerprint, other: Fingerprint) -> float:
    """Estimated cosine of the weights, 0 if one of them is zero; its error is about sqrt(1 / 4096) at a cosine of 0."""
    first, second = one.sketch.astype(np.float64), other.sketch.astype(np.float64)
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / scale if scale else 0.0


def take_fingerprint(folder: Path) -> Fingerprint:
    """Read a checkpoint's folder; what cannot be read is a `MissingCheckpoint`."""
    tensors = sorted(tensor for path in folder.glob("*.safetensors") for tensor in _list_tensors(path))
    if not tensors:
        raise MissingCheckpoint(f"{folder} holds no safetensors weights; other formats are not read")
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise MissingCheckpoint(f"{folder / 'config.json'} cannot be read ({error})") from None
    if not isinstance(config, dict):
        raise MissingCheckpoint(f"{folder / 'config.json'} holds no JSON object")
    content = describe_content(folder)
    digest = hashlib.sha256()
    sketch = np.zeros(BUCKETS)
    parameters = not_finite = 0
    squares = 0.0
    for tensor in tensors:
        digest.update(f"{tensor.name}\n{tensor.dtype}\n{tensor.shape}\n".encode())
        counts = tensor.dtype in _FLOATS and len(tensor.shape) > 1 and not is_constant(tensor.name)
        for number, block in enumerate(_read_blocks(tensor)):
            digest.update(block)
            if counts:
                weights = _to_floats(block, tensor.dtype)
                finite = np.isfinite(weights)
                not_finite += len(weights) - int(finite.sum())
                weights = np.where(finite, weights, 0.0)
                parameters += len(weights)
                squares += float(weights @ weights)
                sketch += _project(weights, tensor.name, number)
    layout = [(tensor.name, tensor.shape) for tensor in tensors if not is_constant(tensor.name)]
    return Fingerprint(
        sha256=digest.hexdigest(),
        config={key: value for key, value in config.items() if key not in _IGNORED_KEYS}
        | {"tensors": hashlib.sha256(json.dumps(layout).encode()).hexdigest()},
        parameters=parameters,
        norm=squares**0.5,
        not_finite=not_finite,
        sketch=sketch.astype(np.float32),
        content=content,
    )


def write_fingerprint(path: Path, fingerprint: Fingerprint) -> None:
    """Write a fingerprint to a file."""
    facts = {key: value for key, value in vars(fingerprint).items() if key not in ("sketch", "content")}
    facts["content"] = None if fingerprint.content is None else vars(fingerprint.content)
    save_file({"sketch": fingerprint.sketch}, path, metadata={"fingerprint": json.dumps(facts)})


def read_fingerprint(path: Path) -> Fingerprint | None:
    """The inverse; None if the file is not there or cannot be read: the checkpoint is then looked at again."""
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["fingerprint"])
            content = Content(**values) if (values := facts.pop("content", None)) else None
            return Fingerprint(**facts, sketch=file.get_tensor("sketch"), content=content)
    except (OSError, SafetensorError, TypeError, ValueError, KeyError):
        return None


@dataclass(frozen=True, order=True)
class _Tensor:
    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Byte in the file at which its values begin."""
    end: int


def _list_tensors(path: Path) -> Iterator[_Tensor]:
    try:
        with safe_open(path, framework="numpy"):  # checks the header, and that the file is as long as it says
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (OSError, SafetensorError, ValueError) as error:
        raise MissingCheckpoint(f"{path} cannot be read ({error})") from None
    header.pop("__metadata__", None)
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        yield _Tensor(strip_wrappers(name), path, entry["dtype"], tuple(entry["shape"]), start, end)


def _read_blocks(tensor: _Tensor) -> Iterator[bytes]:
    """Its bytes, in whole numbers of `_BLOCK` weights (at most 8 bytes each) and a rest."""
    width = np.dtype(_FLOATS.get(tensor.dtype, "<u1")).itemsize
    with tensor.path.open("rb") as file:
        file.seek(tensor.start)
        for start in range(tensor.start, tensor.end, _BLOCK * width):
            yield file.read(min(_BLOCK * width, tensor.end - start))


def _to_floats(block: bytes, dtype: str) -> NDArray[np.float64]:
    values = np.frombuffer(block, dtype=_FLOATS[dtype])
    if dtype == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def _project(weights: NDArray[np.float64], name: str, number: int) -> NDArray[np.float64]:
    """[bucket] the sketch of one block; its signs and buckets have the address (tensor, block)."""
    generator = _STREAMS.generator("evaluation", zlib.crc32(name.encode()), number)
    places = generator.integers(0, 2 * BUCKETS, len(weights), dtype=np.uint16)
    signed = np.bincount(places, weights=weights, minlength=2 * BUCKETS).astype(np.float64)
    return signed[:BUCKETS] - signed[BUCKETS:]
