import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from saltus.lm.audit.fingerprint import (
    Fingerprint,
    measure_cosine,
    measure_distance,
    read_fingerprint,
    take_fingerprint,
    write_fingerprint,
)
from saltus.lm.suites.base import MissingCheckpoint


def fingerprint(folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> Fingerprint:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return take_fingerprint(folder)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_distance_and_cosine_agree_with_the_weights_over_many_blocks(tmp_path: Path) -> None:
    one = {"a": draw(1100, 1000), "b": draw(30, 30, seed=1)}
    other = {"a": one["a"] + 0.1 * draw(1100, 1000, seed=2), "b": one["b"]}
    first, second = fingerprint(tmp_path, one), fingerprint(tmp_path, other)
    unrelated = fingerprint(tmp_path, {"a": draw(1100, 1000, seed=3), "b": draw(30, 30, seed=4)})
    # tolerances are four standard deviations: 1.1% of a distance, sqrt(1/4096) of a cosine near 0
    assert measure_distance(first, second) == pytest.approx(0.1 * 1_100_000**0.5, rel=0.044)
    assert measure_distance(first, unrelated) == pytest.approx((2 * 1_100_900) ** 0.5, rel=0.044)
    assert measure_cosine(first, second) == pytest.approx(1 / 1.01**0.5, abs=0.002)
    assert measure_cosine(first, unrelated) == pytest.approx(0.0, abs=0.0625)
    assert (first.parameters, first.norm) == (1_100_900, pytest.approx(1_100_900**0.5, rel=0.01))


def test_a_direction_shared_by_many_blocks_is_not_counted_twice(tmp_path: Path) -> None:
    """The same column in every row: a projection that repeats itself would see a distance far too large or small."""
    weights = torch.zeros(4096, 512)
    start = fingerprint(tmp_path, {"a": weights.clone()})
    weights[:, 7] = 1.0
    assert measure_distance(start, fingerprint(tmp_path, {"a": weights})) == pytest.approx(64.0, rel=0.044)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_is_read_as_torch_reads_it(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = draw(64, 64).to(dtype)
    here = fingerprint(tmp_path, {"a": weights})
    same = fingerprint(tmp_path, {"a": weights.double().float()})
    assert here.norm == pytest.approx(weights.double().norm().item(), rel=1e-7)
    assert measure_distance(here, same) == pytest.approx(0.0, abs=1e-4)
    assert here.sha256 != same.sha256


def test_buffers_biases_and_integers_count_in_the_hash_alone(tmp_path: Path) -> None:
    weights = {"a": draw(8, 8)}
    buffers = {
        "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
        "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 4, 4),
        "gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(4, 4),
        "count": torch.ones(4, 4, dtype=torch.int64),
        "a.bias": 100 * torch.ones(8),
    }
    bare, full = fingerprint(tmp_path, weights), fingerprint(tmp_path, weights | buffers)
    assert (full.parameters, full.norm) == (64, bare.norm)
    assert np.array_equal(full.sketch, bare.sketch)
    assert full.sha256 != bare.sha256


@pytest.mark.parametrize("change", ["name", "shape", "dtype", "value"])
def test_the_hash_knows_every_difference(tmp_path: Path, change: str) -> None:
    weights = torch.zeros(2, 8)
    changed = {
        "name": {"b": weights},
        "shape": {"a": weights.reshape(4, 4)},
        "dtype": {"a": torch.zeros(4, 8, dtype=torch.float16)},
        "value": {"a": torch.cat([weights[:1], weights[1:] + 1e-30])},
    }[change]
    assert fingerprint(tmp_path, {"a": weights}).sha256 != fingerprint(tmp_path, changed).sha256


@pytest.mark.parametrize(("precision", "dtype"), [("BF16", torch.bfloat16), ("F16", torch.float16)])
def test_the_same_weights_in_another_precision_round_to_the_same(
    tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    """As PyTorch rounds them, halves, subnormal numbers and large ones included."""
    weights = torch.cat([draw(500, 8), 1e-6 * draw(300, 8, seed=1), 7e4 * draw(200, 8, seed=2)])
    weights[0] = torch.tensor([1.00390625, 1.01171875, -1.00390625, 2049.0, 2051.0, 0.0, -0.0, 65520.0])
    whole = fingerprint(tmp_path, {"a": weights, "b": weights[0].clone()})
    half = fingerprint(tmp_path, {"a": weights.to(dtype), "b": weights[0].to(dtype)})
    assert (whole.dtypes, half.dtypes) == ("F32", precision)
    assert whole.rounded[precision] == half.rounded[precision]
    assert whole.sha256 != half.sha256
    other = fingerprint(tmp_path, {"a": weights.roll(1), "b": weights[0].clone()})
    assert other.rounded[precision] != whole.rounded[precision]


def test_small_sketches_of_tensors_estimate_their_distances(tmp_path: Path) -> None:
    one = {"a": draw(300, 100), "b": draw(40, 40, seed=1), "c": draw(7, seed=2)}
    other = {**one, "b": one["b"] + 0.5 * draw(40, 40, seed=3)}
    first, second = (fingerprint(tmp_path, weights).tensors for weights in (one, other))
    assert [(tensor.name, tensor.axes) for tensor in first] == [("a", 2), ("b", 2), ("c", 1)]
    assert [a.digest == b.digest for a, b in zip(first, second, strict=True)] == [True, False, True]
    assert measure_distance(first[0], second[0]) == 0.0
    # four standard deviations of 64 buckets
    assert measure_distance(first[1], second[1]) == pytest.approx(0.5 * 40, rel=4 * (1 / 128) ** 0.5)
    assert first[0].norm == pytest.approx(float(one["a"].norm()), rel=1e-5)


def test_weights_that_are_not_finite_are_counted_and_left_out(tmp_path: Path) -> None:
    weights = torch.ones(4, 4)
    weights[0, 0], weights[1, 1] = torch.nan, torch.inf
    here = fingerprint(tmp_path, {"a": weights})
    assert (here.not_finite, here.norm) == (2, pytest.approx(14**0.5))
    assert np.isfinite(here.sketch).all()


def test_a_fingerprint_is_kept_as_it_is(tmp_path: Path) -> None:
    here = fingerprint(tmp_path / "checkpoint", {"a": draw(8, 8)}, hidden_size=8, names=["x", "y"], dtype="float16")
    write_fingerprint(tmp_path / "kept.safetensors", here)
    kept = read_fingerprint(tmp_path / "kept.safetensors")
    assert kept is not None
    bare = {"sketch": None, "tensors": None}
    assert {**vars(kept), **bare} == {**vars(here), **bare}
    assert np.array_equal(kept.sketch, here.sketch)
    [one], [other] = kept.tensors, here.tensors
    assert {**vars(one), "sketch": None} == {**vars(other), "sketch": None}
    assert np.array_equal(one.sketch, other.sketch)
    assert kept.config.keys() == {"hidden_size", "names", "tensors"}
    (tmp_path / "kept.safetensors").write_bytes(b"damaged")
    assert read_fingerprint(tmp_path / "kept.safetensors") is None
    assert read_fingerprint(tmp_path / "nothing") is None


def test_sketches_of_today_and_tomorrow_agree(tmp_path: Path) -> None:
    """Kept sketches are compared with new ones: what a sketch is may never change. Made with this code."""
    sketch = fingerprint(tmp_path, {"a": torch.arange(12, dtype=torch.float32).reshape(3, 4)}).sketch
    there = np.flatnonzero(sketch)
    assert there.tolist() == [126, 190, 333, 860, 888, 974, 1309, 1796, 2651, 2797, 2939]
    assert sketch[there].tolist() == [5, 11, 2, -3, -9, -10, -1, 4, -6, 7, -8]


def test_a_configuration_nested_too_deeply_is_a_missing_checkpoint(tmp_path: Path) -> None:
    fingerprint(tmp_path, {"a": draw(2)})
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(MissingCheckpoint, match=r"config\.json cannot be read"):
        take_fingerprint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x02\x00\x00\x00\x00\x00\x00\x00{}x"])
def test_a_damaged_file_is_a_missing_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(MissingCheckpoint, match=r"model\.safetensors cannot be read"):
        take_fingerprint(tmp_path)
