"""What the library built once takes the next checkpoint's weights, and is the model that it would have built."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.lm.suites.test_load import build_gpt2, build_neox, build_tied, configure, drop
from tests.lm.tiny_architectures import SIZES, edit_weights, make, make_neox, save
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)

from saltus.lm.suites.base import MissingCheckpoint
from saltus.lm.suites.load import ModelLoader, load_model
from saltus.lm.suites.template import describe_layout, make_template
from saltus.specs.checkpoints import Precision

CPU = torch.device("cpu")
TOKENS = torch.tensor([[3, 1, 4, 1, 5]])
ROTATING: Any = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders from which the library builds a model."""
    folders: list[Path] = []
    build = AutoModelForCausalLM.from_pretrained

    def record(folder: Path, **arguments: Any) -> Any:
        folders.append(folder)
        return build(folder, **arguments)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", record)
    return folders


def save_run(
    build: Callable[[], PreTrainedModel], root: Path, edit: Callable[[Path], object] | None = None
) -> list[Path]:
    """Five checkpoints; the first is as it was begun, with biases of zero, and then every weight changes."""
    folders: list[Path] = []
    model = build()
    for step in range(5):
        folder = save(model, root / f"step{step}", tokenizer=False)
        if edit is not None:
            edit(folder)
        folders.append(folder)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(step)
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
    return folders


def assert_same(ours: PreTrainedModel, theirs: PreTrainedModel) -> None:
    assert type(ours) is type(theirs)
    assert not ours.training
    assert not any(weight.requires_grad for weight in ours.parameters())
    expected = {**theirs.state_dict(), **dict(theirs.named_buffers())}
    found = {**ours.state_dict(), **dict(ours.named_buffers())}
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert found[name].dtype == weight.dtype
        assert torch.equal(found[name], weight), name
    assert torch.equal(ours(TOKENS).logits, theirs(TOKENS).logits)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("build", "builds"),
    [
        (build_neox, 2),  # its head is called otherwise in the files
        (build_tied, 2),
        (build_gpt2, 2),
        (lambda: make(lambda: MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2))), 2),
        (lambda: make(lambda: MixtralForCausalLM(MixtralConfig(**SIZES, num_key_value_heads=2))), 5),  # joins tensors
    ],
    ids=["neox", "tied", "gpt2", "mamba", "mixtral"],
)
def test_each_model_is_the_one_that_the_library_builds(
    build: Callable[[], PreTrainedModel], builds: int, precision: Precision, built: list[Path], tmp_path: Path
) -> None:
    folders = save_run(build, tmp_path)
    loader = ModelLoader(precision, CPU)
    models = [loader.load(folder).model for folder in folders]
    assert built == folders[:builds]
    for folder, model in zip(folders, models, strict=True):  # after all were loaded: none is another's
        assert_same(model, load_model(folder, precision, CPU).model)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_of_the_files_is_cast_as_the_library_does(
    precision: Precision, built: list[Path], tmp_path: Path
) -> None:
    def halve(folder: Path) -> None:
        edit_weights(folder, lambda weights: {name: weight.half() for name, weight in weights.items()})

    folders = save_run(build_neox, tmp_path, halve)
    loader = ModelLoader(precision, CPU)
    models = [loader.load(folder).model for folder in folders]
    assert len(built) == 2
    assert_same(models[-1], load_model(folders[-1], precision, CPU).model)


def test_names_of_wrappers_are_said_of_each(built: list[Path], tmp_path: Path) -> None:
    def wrap(folder: Path) -> None:
        edit_weights(folder, lambda weights: {f"module.{name}": weight for name, weight in weights.items()})

    folders = save_run(build_neox, tmp_path, wrap)
    loader = ModelLoader("float32", CPU)
    loaded = [loader.load(folder) for folder in folders]
    assert len(built) == 2
    expected = load_model(folders[-1], "float32", CPU)
    assert_same(loaded[-1].model, expected.model)
    assert {each.note for each in loaded} == {expected.note}
    assert "names of a wrapper" in expected.note


def test_nothing_that_a_model_keeps_of_a_text_reaches_the_next(built: list[Path], tmp_path: Path) -> None:
    """Dynamic rotations are stretched by a long text, and stay so until a short one comes."""
    folders = save_run(
        lambda: make(lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=ROTATING))),
        tmp_path,
    )
    loader = ModelLoader("float32", CPU)
    for folder in folders:
        model = loader.load(folder).model
        assert_same(model, load_model(folder, "float32", CPU).model)
        before = {name: values.clone() for name, values in model.named_buffers()}
        model(torch.arange(200)[None] % 64)
        assert not all(torch.equal(values, before[name]) for name, values in model.named_buffers())
    assert len([folder for folder in built if folder == folders[-1]]) == 1  # by `load_model` alone


def forget(folder: Path) -> None:
    (folder / "config.json").unlink()


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    "spoil",
    [
        drop("embed_out"),
        configure(num_hidden_layers=3),
        configure(num_hidden_layers=1),
        configure(hidden_size=16),
        forget,
        truncate,
    ],
    ids=["no head", "more layers", "fewer layers", "another width", "no configuration", "truncated"],
)
def test_faults_are_found_behind_good_checkpoints(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    *good, bad, last = save_run(build_neox, tmp_path)
    spoil(bad)
    with pytest.raises(MissingCheckpoint) as expected:
        load_model(bad, "float32", CPU)
    loader = ModelLoader("float32", CPU)
    for folder in good:
        loader.load(folder)
    with pytest.raises(MissingCheckpoint) as found:
        loader.load(bad)
    assert str(found.value) == str(expected.value)
    assert_same(loader.load(last).model, load_model(last, "float32", CPU).model)


def test_a_configuration_that_changes_nothing_but_the_sum_is_another_layout(built: list[Path], tmp_path: Path) -> None:
    *good, other = save_run(build_neox, tmp_path)
    configure(rotary_pct=1)(other)
    loader = ModelLoader("float32", CPU)
    for folder in good:
        loader.load(folder)
    assert_same(loader.load(other).model, load_model(other, "float32", CPU).model)
    assert built == [*good[:2], other, other]


def test_weights_that_were_changed_on_the_way_make_no_template(tmp_path: Path) -> None:
    folder = save(make_neox(), tmp_path / "step0", tokenizer=False)
    model = load_model(folder, "float32", CPU).model
    layout = describe_layout(folder)
    assert make_template(model, folder, layout) is not None
    model.get_parameter("gpt_neox.layers.1.mlp.dense_4h_to_h.bias").data[3] += 1e-6
    assert make_template(model, folder, layout) is None


def test_weights_of_no_file_make_no_template(tmp_path: Path) -> None:
    folder = save(make_neox(), tmp_path / "step0", tokenizer=False)
    model = load_model(folder, "float32", CPU).model
    model.register_parameter("extra", torch.nn.Parameter(torch.zeros(2), requires_grad=False))
    assert make_template(model, folder, describe_layout(folder)) is None


def test_a_name_in_two_files_makes_no_template(built: list[Path], tmp_path: Path) -> None:
    def double(folder: Path) -> None:
        (folder / "consolidated.safetensors").write_bytes((folder / "model.safetensors").read_bytes())

    folders = save_run(build_gpt2, tmp_path, double)
    loader = ModelLoader("float32", CPU)
    for folder in folders:
        assert_same(loader.load(folder).model, load_model(folder, "float32", CPU).model)
    assert len(built) == 10


def test_weights_that_the_library_computes_make_no_template(tmp_path: Path) -> None:
    """Where it turns weights round, those of zeros are equal to what is in the file, and the next ones are not."""

    class Turning:
        operations = ("transpose",)

        def rename_source_key(self, name: str) -> tuple[str, None]:
            return name, None

    folder = save(build_gpt2(), tmp_path / "step0", tokenizer=False)
    model: Any = load_model(folder, "float32", CPU).model
    assert make_template(model, folder, describe_layout(folder)) is not None
    model._weight_conversions = [*model._weight_conversions, Turning()]
    assert make_template(model, folder, describe_layout(folder)) is None
