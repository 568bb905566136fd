"""A module of the user's own, from the code that its spec holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saltus.errors import SaltusError
from saltus.specs import CustomSpec
from saltus.specs.source import define_class, describe_failure

ROUNDING = 1e-5
"""Share of the largest output by which rounding may move one, as in a Fourier transform over all tokens."""

_TOKENS = 2**16
"""Of all sequences in which later tokens are changed."""

_BLOCK = 2**13
"""Of those that are computed at a time."""


def build_custom(spec: CustomSpec, length: int) -> nn.Module:
    """The module that the code of `spec` defines, for sequences of up to `length` queries.

    Its code is executed: only ever of a spec that a study file of the user's made, never of one read from a folder.

    Raises:
        SaltusError: if the code raises, or the module is none that can stand in the place of attention.

    """
    place = f"model: {spec.name}"
    try:
        module = define_class(spec.name, spec.source)(spec.d_model, length, **spec.options)
        _check(module, torch.randn(2, length, spec.d_model), place)
    except SaltusError:
        raise
    except Exception as error:  # noqa: BLE001 - somebody's code may raise anything
        made = f"it is made as {spec.name}(d_model, queries, **options)"
        raise SaltusError(f"{place} raised {describe_failure(error)}; {made}") from None
    return module


@dataclass(frozen=True)
class Leaks:
    """How far outputs of a module move by what they must not depend on, as shares of the largest output."""

    later: float
    """By later tokens of the sequence."""
    others: float
    """By other sequences of the batch."""


def measure_leaks(module: nn.Module, length: int, width: int, generator: torch.Generator) -> Leaks:
    """Outputs before a place when all tokens from it on are others, for each place or as many as `_TOKENS` allow, and
    outputs of a sequence when all others of the batch are.

    What is compared comes from batches of one shape: another shape rounds otherwise, and a recurrence may amplify that.
    """
    places = torch.randperm(length, generator=generator)[: max(1, _TOKENS // length)]
    one, other = torch.randn(2, length, width, generator=generator)
    with torch.no_grad():
        outputs = module(torch.stack([one, one]))
        others = (module(torch.stack([one, other])) - outputs)[0].abs().max().item()
        later = 0.0
        for some in places.split(max(1, _BLOCK // length)):
            before = torch.arange(length) < some[:, None]  # [place, query]
            moved = module(torch.where(before[..., None], one, other)) - module(one.expand(len(some), -1, -1))
            later = max(later, (moved.abs() * before[..., None]).max().item())
    size = outputs.abs().max().item() or 1.0
    return Leaks(later / size, others / size)


def find_leak(spec: CustomSpec, length: int) -> str | None:
    """A sentence where other sequences, or later tokens, move outputs of the module.

    Every parameter is moved a little first, so that a way that is closed at the start, as by weights of zero, is open.
    """
    module = build_custom(spec, length)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    leaks = measure_leaks(module, length, spec.d_model, generator)
    if leaks.others > ROUNDING:
        return (
            f"model: {spec.name} lets other sequences of a batch move outputs (by {leaks.others:.2g} of their size), "
            "so a loss depends on what it is computed with; make the output of a sequence depend on that sequence alone"
        )
    if leaks.later > ROUNDING:
        return (
            f"model: {spec.name} lets later tokens move earlier outputs (by {leaks.later:.2g} of their size), so it "
            "may read what it is to predict; make its output at a position depend on that one and those before it alone"
        )
    return None


def _check(module: Any, x: Tensor, place: str) -> None:
    """What every seed's training relies on: [n, q, m] to [n, q, m], nothing random, no state but parameters."""
    if not isinstance(module, nn.Module):
        raise SaltusError(f"{place} is a {type(module).__name__}; it must be a torch.nn.Module")
    before, attributes = [buffer.clone() for buffer in module.buffers()], _note_attributes(module)
    with torch.no_grad():
        first, second = module(x), module(x)
    if not isinstance(first, Tensor) or first.shape != x.shape:
        given = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise SaltusError(
            f"{place} makes {given} of {tuple(x.shape)}; it must keep the shape [sequence, query, d_model]"
        )
    if any(not torch.equal(a, b) for a, b in zip(before, module.buffers(), strict=True)):
        raise SaltusError(f"{place} changes a buffer when it is called; only parameters may change, by training")
    after = _note_attributes(module)
    if changed := sorted(name for name in attributes | after if attributes.get(name) != after.get(name)):
        raise SaltusError(f"{place} changes {changed[0]} when it is called; only parameters may change, by training")
    if not torch.equal(first, second):
        raise SaltusError(f"{place} gives two results for one input; a run must be repeatable: take out what is random")


def _note_attributes(module: nn.Module) -> dict[str, str]:
    """By name, the content of every attribute of the module and those in it that is no parameter, buffer or module."""
    registered = ("_parameters", "_buffers", "_modules")
    return {
        ".".join(filter(None, ("self", place, name))): _write_out(value)
        for place, each in module.named_modules()
        for name, value in vars(each).items()
        if name not in registered
    }


def _write_out(value: Any) -> str:
    """A value as text, whole where its own text leaves numbers out."""
    match value:
        case Tensor() | np.ndarray():
            return repr(value.tolist())
        case Mapping():
            return repr([(key, _write_out(each)) for key, each in value.items()])
        case list() | tuple() | set():
            return repr([_write_out(each) for each in value])
        case _:
            return repr(value)
