"""What a step moves between the host and a device: nothing, so that a device never waits for the host.

PyTorch's `meta` device stands for an accelerator: its numbers cannot be read, so what reads one raises, and what is
copied to it is seen.
"""

import sys
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from saltus.specs import BiasSpec, LinearMapSpec, RunSpec, TemperatureSpec, TrainingSpec, TransformerSpec
from saltus.train.ensemble import Ensemble, list_members
from saltus.train.optimizers import Optimizer

META = torch.device("meta")
STEPS = 3


class Watch(TorchDispatchMode):
    """Counts operations that have tensors on two devices, and updates."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: Counter[str] = Counter()
        self.updates = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, returned))
        devices = {leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor)}
        self.moved[str(func)] += len(devices) > 1
        self.updates += func is torch.ops.aten._fused_adamw_.default
        return returned


def is_autocast_enabled(kind: str) -> bool:
    """PyTorch's own raises for `meta`."""
    assert kind == "meta"
    return False


def watch(monkeypatch: pytest.MonkeyPatch, steps: int = STEPS, **values: Any) -> Watch:
    """Three stacked seeds advance; reading what they cost, at the end, is what raises."""
    monkeypatch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: ["meta"])
    monkeypatch.setattr("torch.is_autocast_enabled", is_autocast_enabled)
    spec = RunSpec(
        task=LinearMapSpec(size=4, sparsity=2),
        model=TransformerSpec(layers=1, d_model=8, heads=2, **values.pop("model", {})),
        training=TrainingSpec(steps=100, batch_sequences=4, compile=False, **values.pop("training", {})),
        seeds=3,
        **values,
    )
    ensemble = Ensemble([spec], list_members([spec]), META, stacked=True)
    with Watch() as seen, pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        ensemble.advance(steps)
    return seen


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"training": {"loss": "scored", "rates": {"blocks.*": 2.0}}, "model": {"positions": "rotary"}},
        {"intervention": (BiasSpec(strength=2.0), TemperatureSpec(factor=2.0))},
    ],
    ids=["plain", "other options", "interventions"],
)
def test_a_step_neither_reads_from_the_device_nor_copies_to_it(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (watch(monkeypatch, steps, **values) for steps in (1, STEPS))
    assert (few.updates, many.updates) == (1, STEPS)  # so nothing was read before the end
    assert few.moved.total() == many.moved.total()  # what is copied is copied once


def test_the_data_of_many_steps_are_copied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ensemble", "material"):
        monkeypatch.setattr(f"saltus.train.{module}.DATA_BLOCK", 2)
    assert watch(monkeypatch, 3).moved.total() == 2


def test_what_is_copied_or_read_at_each_step_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = watch(monkeypatch, model={"dropout": 0.5})  # its masks are drawn by the host
    assert dropped.moved.total() == STEPS + 1
    update = Optimizer.update

    def read_and_update(self: Optimizer, step: int, gradient: torch.Tensor) -> None:
        update(self, step, gradient / gradient.norm().item())

    monkeypatch.setattr(Optimizer, "update", read_and_update)
    assert watch(monkeypatch).updates == 0
