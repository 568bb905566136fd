"""What is kept of a checkpoint once its weights are gone: hash, norm, and a sketch from which distances are estimated.

A sketch is a sparse random projection (a count sketch): each weight goes with a random sign into one of 4,096 buckets.
It is linear and the same for all checkpoints, so that the distance of two sketches estimates that of the weights, with
a relative error of about 1.1% (sqrt(1 / 8192)), and no two checkpoints need to be on disk at once. Of each tensor a
smaller one of 64 buckets is kept, with an error of about 9%.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from saltus.lm.audit.tensors import StoredTensor, list_tensors, round_to_bfloat16, round_to_float16
from saltus.lm.suites.base import MissingCheckpoint
from saltus.lm.suites.content import Content, describe_content
from saltus.lm.suites.weights import is_constant
from saltus.seeding import Streams

BUCKETS = 4096
TENSOR_BUCKETS = 64
_STREAMS = Streams(0)  # never another: all sketches must agree
_IGNORED_KEYS = (
    "_name_or_path",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "use_cache",
)  # say nothing of the model
_ROUNDINGS: dict[str, Callable[[NDArray[np.float64]], bytes]] = {"BF16": round_to_bfloat16, "F16": round_to_float16}


@dataclass(frozen=True)
class TensorPrint:
    """One floating-point tensor of a checkpoint."""

    name: str
    axes: int
    digest: str
    """Hash of its bytes."""
    not_finite: int
    """How many of its values are infinite or not a number."""
    norm: float
    """Euclidean, of the finite values."""
    sketch: NDArray[np.float32]
    """[bucket], of `TENSOR_BUCKETS`."""


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
    """What the files were. Of this and what follows nothing is known where version 0.1 read them."""
    dtypes: str = ""
    """The types of the floating-point tensors, such as 'F16, F32'."""
    rounded: dict[str, str] = field(default_factory=dict[str, str])
    """Of the weights rounded to a precision, by its name the hash: equal for the same weights in another precision."""
    tensors: tuple[TensorPrint, ...] = ()
    """Of each floating-point tensor, by name."""


def measure_distance(one: Fingerprint | TensorPrint, other: Fingerprint | TensorPrint) -> float:
    """Estimated Euclidean distance of the weights."""
    return float(np.linalg.norm(one.sketch.astype(np.float64) - other.sketch))


def measure_cosine(one: Fingerprint, other: Fingerprint) -> float:
    """Estimated cosine of the weights, 0 if one of them is zero; its error is about sqrt(1 / 4096) at a cosine of 0."""
    first, second = one.sketch.astype(np.float64), other.sketch.astype(np.float64)
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / scale if scale else 0.0


def take_fingerprint(folder: Path) -> Fingerprint:
    """Read a checkpoint's folder; what cannot be read is a `MissingCheckpoint`."""
    tensors = list_tensors(folder)
    config = _read_configuration(folder / "config.json")
    content = describe_content(folder)
    hashes = {name: hashlib.sha256() for name in ("bytes", *_ROUNDINGS)}
    sketch = np.zeros(BUCKETS)
    prints: list[TensorPrint] = []
    parameters, squares = 0, 0.0
    for tensor in tensors:
        hashes["bytes"].update(f"{tensor.name}\n{tensor.dtype}\n{tensor.shape}\n".encode())
        if not tensor.is_weight:
            for block in tensor.blocks():
                hashes["bytes"].update(block)
            continue
        one, projected = _read_tensor(tensor, hashes)
        prints.append(one)
        if one.axes > 1:
            parameters += int(np.prod(tensor.shape))
            squares += one.norm**2
            sketch += projected
    layout = [(tensor.name, tensor.shape) for tensor in tensors if not is_constant(tensor.name)]
    return Fingerprint(
        sha256=hashes["bytes"].hexdigest(),
        config=config | {"tensors": hashlib.sha256(json.dumps(layout).encode()).hexdigest()},
        parameters=parameters,
        norm=squares**0.5,
        not_finite=sum(one.not_finite for one in prints),
        sketch=sketch.astype(np.float32),
        content=content,
        dtypes=", ".join(sorted({tensor.dtype for tensor in tensors if tensor.is_weight})),
        rounded={name: hashes[name].hexdigest() for name in _ROUNDINGS},
        tensors=tuple(prints),
    )


def write_fingerprint(path: Path, fingerprint: Fingerprint) -> None:
    """Write a fingerprint to a file."""
    facts = {key: value for key, value in vars(fingerprint).items() if key not in ("sketch", "content", "tensors")}
    facts["content"] = None if fingerprint.content is None else vars(fingerprint.content)
    facts["tensors"] = [
        {key: value for key, value in vars(one).items() if key != "sketch"} for one in fingerprint.tensors
    ]
    sketches = np.array([one.sketch for one in fingerprint.tensors], np.float32).reshape(-1, TENSOR_BUCKETS)
    arrays = {"sketch": fingerprint.sketch, "tensor_sketches": sketches}
    save_file(arrays, path, metadata={"fingerprint": json.dumps(facts)})


def read_fingerprint(path: Path) -> Fingerprint | None:
    """The inverse; None if the file is not there or cannot be read: the checkpoint is then looked at again."""
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["fingerprint"])
            content = Content(**values) if (values := facts.pop("content", None)) else None
            told = facts.pop("tensors", ())
            sketches = file.get_tensor("tensor_sketches") if told else ()
            tensors = tuple(TensorPrint(**one, sketch=of_one) for one, of_one in zip(told, sketches, strict=True))
            return Fingerprint(**facts, sketch=file.get_tensor("sketch"), content=content, tensors=tensors)
    except (OSError, SafetensorError, TypeError, ValueError, KeyError, RecursionError):
        return None


def _read_configuration(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MissingCheckpoint(f"{path} cannot be read ({error})") from None
    if not isinstance(config, dict):
        raise MissingCheckpoint(f"{path} holds no JSON object")
    return {key: value for key, value in config.items() if key not in _IGNORED_KEYS}


def _read_tensor(tensor: StoredTensor, hashes: Mapping[str, Any]) -> tuple[TensorPrint, NDArray[np.float64]]:
    """The print of a tensor and its whole sketch; its bytes, as they are and rounded, go into the `hashes` as well."""
    own = hashlib.blake2b(digest_size=16)
    sketch = np.zeros(BUCKETS)
    not_finite, squares = 0, 0.0
    for name in _ROUNDINGS:
        hashes[name].update(f"{tensor.name}\n{tensor.shape}\n".encode())
    for number, block in enumerate(tensor.blocks()):
        hashes["bytes"].update(block)
        own.update(block)
        weights = tensor.to_floats(block)
        for name, rounded in _ROUNDINGS.items():
            hashes[name].update(rounded(weights))
        finite = np.isfinite(weights)
        not_finite += len(weights) - int(finite.sum())
        weights = np.where(finite, weights, 0.0)
        squares += float(weights @ weights)
        sketch += _project(weights, tensor.name, number)
    small = sketch.reshape(TENSOR_BUCKETS, -1).sum(axis=1).astype(np.float32)
    one = TensorPrint(tensor.name, len(tensor.shape), own.hexdigest(), not_finite, squares**0.5, small)
    return one, sketch


def _project(weights: NDArray[np.float64], name: str, number: int) -> NDArray[np.float64]:
    """[bucket] the sketch of one block; its signs and buckets have the address (tensor, block)."""
    generator = _STREAMS.generator("evaluation", zlib.crc32(name.encode()), number)
    places = generator.integers(0, 2 * BUCKETS, len(weights), dtype=np.uint16)
    signed = np.bincount(places, weights=weights, minlength=2 * BUCKETS).astype(np.float64)
    return signed[:BUCKETS] - signed[BUCKETS:]
