"""Only what a checkpoint holds is a model; what the library would make up is a missing checkpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.lm.tiny_architectures import SIZES, edit_configuration, edit_weights, make, make_neox, save
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForSequenceClassification,
    GPTNeoXModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)

from saltus.lm.suites.base import MissingCheckpoint
from saltus.lm.suites.load import ModelLoader, load_model

CPU = torch.device("cpu")


def build_neox() -> PreTrainedModel:
    return make_neox()


def build_tied() -> PreTrainedModel:
    return make(lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)))


def build_gpt2() -> PreTrainedModel:
    return make(lambda: GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4)))


def build_silent() -> PreTrainedModel:
    model = make_neox()
    torch.nn.init.zeros_(model.get_parameter("lm_head.weight"))
    return model


@pytest.mark.parametrize(
    "build",
    [
        build_neox,
        build_tied,
        build_gpt2,
        build_silent,
        lambda: make(lambda: MixtralForCausalLM(MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=4))),
        lambda: make(
            lambda: MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4))
        ),
        lambda: make(lambda: BertLMHeadModel(BertConfig(**SIZES, is_decoder=True))),
    ],
    ids=["neox", "tied", "gpt2", "a head of zeros", "mixtral", "mamba", "bert as a decoder"],
)
def test_whole_causal_models_are_loaded(build: Callable[[], PreTrainedModel], tmp_path: Path) -> None:
    model = build()
    loaded = load_model(save(model, tmp_path, tokenizer=False), "float32", CPU)
    assert loaded.note == ""
    tokens = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(tokens).logits, model(tokens).logits)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_stripped_and_said(prefix: str, tmp_path: Path) -> None:
    model = make_neox()
    folder = save(model, tmp_path, tokenizer=False)
    edit_weights(folder, lambda weights: {f"{prefix}{name}": weight for name, weight in weights.items()})
    loaded = load_model(folder, "float32", CPU)
    assert loaded.note == (
        f"28 tensors have names of a wrapper, such as {prefix}embed_out.weight, and were taken for embed_out.weight "
        "and so on"
    )
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], weight), name


def test_a_block_that_was_compiled_alone(tmp_path: Path) -> None:
    folder = save(make_neox(), tmp_path, tokenizer=False)
    edit_weights(folder, lambda weights: {n.replace("layers.0.", "layers.0._orig_mod."): w for n, w in weights.items()})
    assert load_model(folder, "float32", CPU).note.startswith("12 tensors have names of a wrapper")


def test_buffers_of_old_checkpoints_are_no_weights(tmp_path: Path) -> None:
    mask = {"h.0.attn.bias": torch.ones(1, 1, 8, 8), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    folder = edit_weights(save(build_gpt2(), tmp_path, tokenizer=False), lambda weights: {**weights, **mask})
    assert load_model(folder, "float32", CPU).note == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_seen_where_no_answer_shows_it(value: float, tmp_path: Path) -> None:
    """Neither by a model that the library builds nor by a copy that is filled, which the third of a layout is."""
    loader = ModelLoader("float32", CPU)

    def spoil(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["model.layers.0.self_attn.q_proj.weight"][3, 5] = value
        return weights

    for place, name in enumerate(("a", "b", "c")):
        folder = save(build_tied(), tmp_path / name, tokenizer=False)
        loader.load(folder)
        edit_weights(folder, spoil)
        for each in (loader, ModelLoader("float32", CPU)) if place else (ModelLoader("float32", CPU),):
            with pytest.raises(MissingCheckpoint, match=r"has weights that are not finite in model\.layers\.0\."):
                each.load(folder)


def test_large_weights_are_no_fault(tmp_path: Path) -> None:
    folder = save(build_tied(), tmp_path, tokenizer=False)
    edit_weights(folder, lambda weights: {**weights, "model.norm.weight": torch.full((32,), 3e38)})
    load_model(folder, "float32", CPU)  # their sum is infinite


def configure(**values: int) -> Callable[[Path], object]:
    return lambda folder: edit_configuration(folder, **values)


def drop(part: str) -> Callable[[Path], object]:
    return lambda folder: edit_weights(
        folder, lambda weights: {name: weight for name, weight in weights.items() if part not in name}
    )


@pytest.mark.parametrize(
    ("build", "spoil", "says"),
    [
        (build_neox, drop("embed_out"), "lacks lm_head.weight, without which the model is another one"),
        (build_neox, drop("layers.1."), "lacks gpt_neox.layers.1.attention.dense.bias, .* and 9 more, without which"),
        (build_neox, configure(num_hidden_layers=3), "lacks gpt_neox.layers.2.attention"),
        (
            build_neox,
            configure(num_hidden_layers=1),
            "holds gpt_neox.layers.1.* and 9 more, which",
        ),
        (build_neox, configure(hidden_size=16), "cannot be loaded as a language model"),
        (
            lambda: make(lambda: GPTNeoXForSequenceClassification(GPTNeoXConfig(**SIZES))),
            None,
            "lacks lm_head.weight, without which",
        ),
        (
            lambda: make(lambda: LlamaForSequenceClassification(LlamaConfig(**SIZES, tie_word_embeddings=True))),
            None,
            "holds score.weight, which its configuration has no place for",
        ),
        (lambda: make(lambda: GPTNeoXModel(GPTNeoXConfig(**SIZES))), None, "lacks lm_head.weight"),
        (
            lambda: make(lambda: BertForMaskedLM(BertConfig(**SIZES))),
            None,
            "holds a BertLMHeadModel whose tokens see the ones after them",
        ),
    ],
    ids=[
        *("no head", "a layer less", "more layers configured", "fewer layers configured", "another width"),
        *("a classifier", "a tied classifier", "no head at all", "bidirectional"),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_would_be_made_up_is_a_missing_checkpoint(
    build: Callable[[], PreTrainedModel],
    spoil: Callable[[Path], object] | None,
    says: str,
    precision: str,
    tmp_path: Path,
) -> None:
    folder = save(build(), tmp_path, tokenizer=False)
    if spoil is not None:
        spoil(folder)
    with pytest.raises(MissingCheckpoint, match=says):
        load_model(folder, precision, CPU)  # pyright: ignore[reportArgumentType]


def test_a_configuration_is_causal_only_once_its_tokens_were_seen_to_mix(tmp_path: Path) -> None:
    loader = ModelLoader("float32", CPU)

    def build_bert(name: str, scale: float) -> Path:
        """Attention that adds nothing mixes no tokens, and so hides that they see each other."""
        model = make(lambda: BertForMaskedLM(BertConfig(**SIZES)))
        for part, weight in model.named_parameters():
            if part.endswith("attention.output.dense.weight"):
                weight.data.mul_(scale)
        return save(model, tmp_path / name, tokenizer=False)

    for number in range(3):  # the third from the template
        loader.load(build_bert(f"hidden{number}", 0.0))
    with pytest.raises(MissingCheckpoint, match="see the ones after them"):
        loader.load(build_bert("seen", 1.0))
    loader.load(save(build_neox(), tmp_path / "neox", tokenizer=False))
    with pytest.raises(MissingCheckpoint, match="see the ones after them"):
        loader.load(build_bert("again", 1.0))


def test_a_configuration_that_is_causal_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[torch.Tensor] = []
    differentiate = torch.Tensor.backward

    def record(tensor: torch.Tensor) -> None:
        looked.append(tensor)
        differentiate(tensor)

    monkeypatch.setattr(torch.Tensor, "backward", record)
    loader = ModelLoader("float32", CPU)
    folder = save(build_neox(), tmp_path / "neox", tokenizer=False)
    for _ in range(4):
        loader.load(folder)
    assert len(looked) == 1
    loader.load(save(build_gpt2(), tmp_path / "gpt2", tokenizer=False))
    assert len(looked) == 2
