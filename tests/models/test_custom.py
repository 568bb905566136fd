"""A module of the user's own: its code is kept, and what could not be trained is refused with a reason."""

from pathlib import Path
from typing import Any

import pytest
import torch

from saltus.errors import SaltusError
from saltus.models.build import build_model, count_parameters, match_parameters
from saltus.specs import CustomSpec, LinearMapSpec, MlpMixerSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.specs.models import MODELS
from saltus.studies.study import load_study
from saltus.tasks.build import read_facts

STUDY = '''"""A study with a module of its own."""
import torch
from torch import nn
from torch.nn import functional as F
from saltus import Cell, CustomSpec, LinearMapSpec, RunSpec, Study, TrainingSpec
import json  # not needed by the module

FACTOR = 0.5
UNUSED = 7

def scale(x):
    # a comment
    return x * FACTOR

def unused(x):
    return x

class Base(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.value = nn.Linear(d_model, d_model)

class Mean(Base):
    def __init__(self, d_model, queries, power=1):
        super().__init__(d_model)
        self.power = power
        self.register_buffer("count", torch.arange(1, queries + 1)[:, None])

    def forward(self, x):
        return scale(F.gelu(self.value(x)).cumsum(1) / self.count[: x.shape[1]] ** self.power)

run = RunSpec(
    name="mine",
    task=LinearMapSpec(size=4, sparsity=2),
    model=CustomSpec.of(Mean, d_model=8, options={"power": 2}),
    training=TrainingSpec(steps=4, batch_sequences=4, compile=False, evaluation_sequences=8),
    seeds=2,
)
study = Study(cells=[Cell(run=run)])
'''


def load(tmp_path: Path, text: str = STUDY) -> RunSpec:
    path = tmp_path / "own.py"
    path.write_text(text)
    return load_study(path).cells[0].run


def custom(source: str, **values: Any) -> CustomSpec:
    return CustomSpec(name="Own", source=f"import torch\nfrom torch import nn\n{source}", d_model=8, **values)


def build(spec: CustomSpec) -> Any:
    facts = read_facts(
        RunSpec(
            name="a",
            task=LinearMapSpec(size=4, sparsity=2),
            model=spec,
            training=TrainingSpec(steps=1, batch_sequences=1),
        )
    )
    return build_model(spec, facts, init_seed=0)


def test_the_run_keeps_what_the_module_needs_and_no_more(tmp_path: Path) -> None:
    model: Any = load(tmp_path).model
    source = model.source
    for needed in ("import torch", "functional as F", "FACTOR = 0.5", "def scale", "class Base", "class Mean"):
        assert needed in source
    for other in ("UNUSED", "def unused", "json", "saltus", "comment", "runs ="):
        assert other not in source
    assert source.index("class Base") < source.index("class Mean")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# a comment", "# another", True),
        ("UNUSED = 7", "UNUSED = 8", True),
        ("FACTOR = 0.5", "FACTOR = 0.25", False),
        ("x * FACTOR", "x + FACTOR", False),
        ("super().__init__()", "super(Base, self).__init__()", False),
        ('"power": 2', '"power": 3', False),
    ],
)
def test_a_run_is_another_when_what_it_trains_is_another(tmp_path: Path, old: str, new: str, same: bool) -> None:
    assert (load(tmp_path).run_id == load(tmp_path, STUDY.replace(old, new)).run_id) is same


def test_its_code_makes_the_module_anywhere(tmp_path: Path) -> None:
    spec = load(tmp_path)
    again = RunSpec(**spec.model_dump(mode="json"))  # as from a run folder, without the study
    first, second = (build_model(s.model, read_facts(s), init_seed=3) for s in (spec, again))
    tokens = torch.randint(2, (3, 7))
    torch.testing.assert_close(first(tokens), second(tokens), rtol=0, atol=0)
    x = torch.randn(2, 7, 8)
    mixer: Any = first.blocks[0].mixer
    value = torch.nn.functional.gelu(mixer.mixer.value(x)).cumsum(1)
    torch.testing.assert_close(mixer.mixer(x), 0.5 * value / torch.arange(1, 8)[:, None] ** 2)


def test_its_code_can_be_compiled(tmp_path: Path) -> None:
    spec = load(tmp_path)
    model = build_model(spec.model, read_facts(spec), init_seed=3)
    tokens = torch.randint(2, (3, 7))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens), model(tokens))


def test_a_folder_s_code_is_not_executed_by_reading_it(tmp_path: Path) -> None:
    flag = tmp_path / "executed"
    spec = custom(f"open({str(flag)!r}, 'w')\nclass Own(nn.Module):\n    pass\n")
    assert RunSpec(
        name="a", task=LinearMapSpec(size=4, sparsity=2), model=spec, training=TrainingSpec(steps=1, batch_sequences=1)
    ).run_id
    assert not flag.exists()


FORWARD = (
    "class Own(nn.Module):\n    def __init__(self, d, q):\n        super().__init__()\n{}    def forward(self, x):\n"
)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("class Own:\n    def __init__(self, d, q): pass\n", "Own is a Own; it must be a torch.nn.Module"),
        ("class Own(nn.Module):\n    pass\n", r"made as Own\(d_model, queries, \*\*options\)"),
        (FORWARD.format("") + "        return x[:, :1]\n", r"makes \(2, 1, 8\) of \(2, 7, 8\)"),
        (FORWARD.format("") + "        return x, x\n", "makes tuple of"),
        (FORWARD.format("") + "        return missing(x)\n", "raised NameError"),
        (FORWARD.format("") + "        return nn.functional.dropout(x)\n", "gives two results for one input"),
        (
            FORWARD.format("        self.register_buffer('seen', torch.zeros(1))\n")
            + "        self.seen += 1\n        return x\n",
            "changes a buffer",
        ),
        (
            FORWARD.format("        self.n = 0\n") + "        self.n += 1\n        return x\n",
            "changes self.n when it is called",
        ),
        (
            FORWARD.format("        self.seen = []\n") + "        self.seen.append(1)\n        return x\n",
            "changes self.seen",
        ),
        (
            FORWARD.format("        self.norm = nn.Identity()\n")
            + "        self.norm.mean = x.mean()\n        return x\n",
            "changes self.norm.mean",
        ),
    ],
)
def test_what_could_not_be_trained_is_refused(source: str, sentence: str) -> None:
    with pytest.raises(SaltusError, match=sentence):
        build(custom(source))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("class Other: pass", "name is 'Own'; source defines Other"),
        ("def f(:", "source is no Python code"),
        ("x = 1", "source defines no class"),
        (f"x = {'-' * 90_000}1", "source is no Python code .*nested too deeply"),
    ],
)
def test_code_that_defines_no_such_class_is_no_description(source: str, sentence: str) -> None:
    with pytest.raises(SaltusError, match=sentence):
        custom(source)


def test_a_class_within_a_function_is_refused() -> None:
    class Inner(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(SaltusError, match="at the top level of a file"):
        CustomSpec.of(Inner)


def test_parameters_are_matched_by_the_width_of_the_mlp() -> None:
    attention = TransformerSpec(d_model=16, heads=4, d_mlp=96)
    models = {
        "attention": attention,
        "mixer": MlpMixerSpec(d_model=16),
        **{
            kind: RunSpec.model_validate(
                {
                    "name": "a",
                    "task": {"kind": "linear_map", "size": 4, "sparsity": 2},
                    "model": {"kind": kind, "d_model": 16}
                    | ({} if kind in ("rwkv", "mamba", "convolution") else {"heads": 2}),
                    "training": {"steps": 1, "batch_sequences": 1},
                }
            ).model
            for kind in MODELS
            if kind not in ("transformer", "mlp_mixer", "custom")
        },
    }
    facts = read_facts(
        RunSpec(
            name="a",
            task=LinearMapSpec(size=4, sparsity=2),
            model=attention,
            training=TrainingSpec(steps=1, batch_sequences=1),
        )
    )
    sizes = {name: count_parameters(model, facts) for name, model in match_parameters(models, facts).items()}
    assert sizes["attention"] == count_parameters(attention, facts)
    unit = 2 * 16 + 1  # a unit of the MLP: weights in and out, and a bias
    assert all(abs(size - sizes["attention"]) <= unit / 2 for size in sizes.values()), sizes
    large = {"small": TransformerSpec(d_model=4, heads=1, d_mlp=1), "large": attention}
    with pytest.raises(SaltusError, match=r"large has 1,[0-9]+ parameters with an MLP of one unit"):
        match_parameters(large, facts)
