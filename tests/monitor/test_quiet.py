"""Watching changes nothing: weights, moments and random states are bit-equal with a monitor and without."""

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch._dynamo
import torch.distributed as distributed
from tests.lm.tiny_suite import WORDS
from tests.monitor.trainings import (
    OwnAttention,
    flatten,
    make_llama,
    read_attention,
    read_logits,
    train,
    watch,
)
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)
from transformers.masking_utils import sdpa_mask

from saltus.errors import SaltusError
from saltus.monitor import Monitor
from saltus.monitor.quiet import find_language_model, undisturbed, unwrap


def draw_at_random(model: Any) -> float:
    """A measure that uses up random numbers of every kind."""
    return float(torch.rand(()).item()) + float(np.random.rand()) + random.random()


def test_200_steps_of_a_language_model_with_dropout_are_the_same_bits(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    monitor = watch(tmp_path, scalars={"chaos": draw_at_random})
    watched, alone = train(make_llama(), 200, monitor), train(make_llama(), 200)
    monitor.close()
    assert flatten(watched) == flatten(alone)
    assert len(monitor.folder.rows()) == 44
    assert [event for event in monitor.folder.events() if event.kind == "failed"] == []
    assert flatten(train(make_llama(0.2), 3)) != flatten(train(make_llama(), 3))  # a difference would be seen


def test_200_steps_of_a_model_of_ones_own_are_the_same_bits(tmp_path: Path) -> None:
    def make() -> OwnAttention:
        torch.manual_seed(0)
        return OwnAttention().train()

    monitor = watch(tmp_path, logits=read_logits, attention=read_attention)
    watched, alone = (train(make(), 200, each, logits=read_logits) for each in (monitor, None))
    assert flatten(watched) == flatten(alone)  # the counter of passes among them
    records = monitor.folder.records()
    assert np.isfinite(records.masses).all()
    assert records.masses.shape == (44, 1, 1, 4)
    assert records.curves.units == ["repetition"]
    assert records.notes == ()


class Stubborn(nn.Module):
    """Has an `eval` of its own that changes weights, a part that is frozen in evaluation, and buffers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.frozen = nn.BatchNorm1d(3).eval()
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("table", torch.tensor([1.0, float("nan")]))
        self.seen: list[bool] = []

    def train(self, mode: bool = True) -> "Stubborn":
        with torch.no_grad():
            self.weight += 1.0
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.norm.training)
        self.table = torch.zeros(5)
        return self.norm(self.frozen(x)) * self.weight


def test_modes_and_buffers_are_put_back_even_if_the_look_fails() -> None:
    model = Stubborn()
    before = copy.deepcopy(model.state_dict())
    table, places = model.table, torch.get_rng_state()

    def look() -> None:
        with undisturbed(model):
            model(torch.rand(4, 3))
            assert isinstance(model.norm.running_mean, Tensor)
            model.norm.running_mean += 1.0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert model.seen == [False]
    assert [module.training for module in model.modules()] == [True, False, True]
    assert model.table is table
    assert flatten(dict(model.state_dict())) == flatten(dict(before))
    assert torch.equal(torch.get_rng_state(), places)
    assert torch.is_grad_enabled()


class Late(nn.Module):
    """Makes its mask at the first pass, in a buffer that is None until then, and another one that was not there."""

    mask: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", None)

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            self.mask = torch.ones_like(x)
            self.register_buffer("extra", torch.ones(1), persistent=False)
        return x * self.mask


def test_a_buffer_that_the_first_pass_makes_is_made_by_the_training() -> None:
    model = Late()
    with undisturbed(model):
        model(torch.ones(2, 3))
    assert model.mask is None
    assert list(model.state_dict()) == []
    assert not hasattr(model, "extra")
    assert model(torch.ones(2, 7)).shape == (2, 7)
    assert list(model.state_dict()) == ["mask"]


def test_training_under_autocast_still_has_gradients_after_a_look_within_it() -> None:
    """Casts of weights without gradients would be kept, and the weights would not be trained."""
    model, x = nn.Linear(4, 4), torch.ones(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with undisturbed(model):
            assert model(x).dtype == torch.float32
            with torch.autocast("cpu", dtype=torch.bfloat16):  # as accelerate wraps a forward
                assert model(x).dtype == torch.bfloat16
        assert torch.is_autocast_enabled("cpu")
        model(x).float().sum().backward()
    assert model.weight.grad is not None
    assert model.weight.grad.abs().sum() > 0


def test_a_watched_training_under_autocast_with_accumulation_and_checkpointing_is_the_same(tmp_path: Path) -> None:
    def run(monitor: Monitor | None) -> list[Any]:
        model = make_llama()
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()  # transformers renamed it
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
        torch.manual_seed(3)
        for step in range(12):
            for part in range(2):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    tokens = torch.randint(0, 32, (2, 12))
                    loss = cross_entropy(model(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()) / 2
                    if monitor:  # in the midst of an update, and twice at a step
                        monitor.step(step, model, loss=loss + part)
                loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        return flatten([model.state_dict(), optimiser.state_dict()["state"], torch.get_rng_state()])

    monitor = watch(tmp_path)
    assert run(monitor) == run(None)
    rows = monitor.folder.rows()
    assert [row.step for row in rows] == [0, 1, 2, 4, 5, 10]
    assert all(row.failed == {} for row in rows)
    assert rows[2].loss is not None
    assert rows[2].loss > 2.0 / 2 + 0.25  # both parts of a step are in the mean


def compile_in_place(model: nn.Module, **options: Any) -> nn.Module:
    model.compile(**options)
    return model


@pytest.mark.parametrize("compile_model", [torch.compile, compile_in_place])
def test_a_compiled_model_is_looked_at_without_compiling_it_again(
    compile_model: Callable[..., Any], tmp_path: Path
) -> None:
    torch._dynamo.reset()
    compiled: list[int] = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(len(inputs))
        return graph.forward

    model = OwnAttention().train()
    shown = compile_model(model, backend=count)
    monitor = watch(tmp_path, logits=read_logits, attention=read_attention)
    tokens = torch.randint(0, 32, (2, 12))
    shown(tokens).sum().backward()
    once = len(compiled)
    for step in range(12):
        monitor.step(step, shown)
        shown(tokens).sum().backward()
    torch._dynamo.reset()
    assert 0 < len(compiled) == once
    assert np.isfinite(monitor.folder.records().masses).all()


def test_wrappers_are_seen_through() -> None:
    model = make_llama()
    assert unwrap(cast(nn.Module, torch.compile(model))) is model
    assert unwrap(nn.DataParallel(model)) is model
    assert find_language_model(nn.ModuleDict({"inside": model, "beside": nn.Linear(2, 2)})) is model
    twice = nn.ModuleDict({"model": model, "loss": nn.ModuleDict({"of": model})})
    assert find_language_model(twice) is model
    with pytest.raises(SaltusError, match="holds 2 models of transformers"):
        find_language_model(nn.ModuleList([model, make_llama()]))


def test_the_parts_of_a_composite_model_keep_their_attention(tmp_path: Path) -> None:
    text: dict[str, Any] = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32}
    text |= {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64}
    image: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    image |= {"num_attention_heads": 2, "image_size": 8, "patch_size": 4, "projection_dim": 16}
    parts: dict[str, Any] = {"text_config": LlamaConfig(**text), "vision_config": CLIPVisionConfig(**image)}
    parts |= {"image_token_id": 3}
    each: Any = {"text_config": "sdpa", "vision_config": "eager"}
    model = LlavaForConditionalGeneration._from_config(LlavaConfig(**parts), attn_implementation=each)  # pyright: ignore[reportPrivateUsage]

    def list_attention() -> list[str]:
        return [
            part.config._attn_implementation or ""  # pyright: ignore[reportPrivateUsage]
            for part in model.modules()
            if isinstance(part, PreTrainedModel)
        ]

    before = list_attention()
    assert {"sdpa", "eager"} <= {*before}
    monitor = watch(tmp_path)
    monitor.step(0, model)
    assert list_attention() == before
    assert np.isfinite(monitor.folder.records().masses).all()


def take_as_it_is(model: PreTrainedModel, name: str, **options: Any) -> str:
    return name


def refuse_single_precision(module: nn.Module, query: Tensor, *arguments: Any, **options: Any) -> Any:
    raise RuntimeError(f"flash attention takes half precision, and {query.dtype} was given")


@pytest.mark.parametrize("attention", ["sdpa", "flash_as_it_is"])
def test_the_attention_of_the_training_stays_what_it_was(
    attention: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Capabilities are asked with the model's own attention, unless it cannot do without autocast."""
    monkeypatch.setattr(PreTrainedModel, "_check_and_adjust_attn_implementation", take_as_it_is)
    AttentionInterface.register("flash_as_it_is", refuse_single_precision)
    AttentionMaskInterface.register("flash_as_it_is", sdpa_mask)
    model = make_llama()
    model.set_attn_implementation(attention)
    monitor = watch(tmp_path)
    monitor.step(0, model)
    [row] = monitor.folder.rows()
    assert row.failed == {}
    assert row.masses is not None
    assert row.shares == {"repetition": 0.0}
    assert model.config._attn_implementation == attention  # pyright: ignore[reportPrivateUsage]


def test_the_first_process_of_a_group_watches_the_module_inside(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        monitor = watch(tmp_path / "mine")
        model = make_llama()
        watched = train(model, 12, monitor, shown=nn.parallel.DistributedDataParallel(model))
    finally:
        distributed.destroy_process_group()
    assert flatten(watched) == flatten(train(make_llama(), 12))
    assert monitor.folder.records().masses.shape == (6, 2, 2, 4)
