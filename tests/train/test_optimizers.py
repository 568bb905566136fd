"""PyTorch's optimisers on stacked flat parameters: each seed's weights change as those of a plain module do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus import api
from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.models.decoder import Decoder
from saltus.seeding import Streams
from saltus.specs import CustomSpec, LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.tasks.build import build_task, read_facts
from saltus.train.ensemble import DATA_BLOCK, Ensemble, Member
from saltus.train.evaluation import TrainLoss
from saltus.train.folder import RunFolder
from saltus.train.loop import Job, train
from saltus.train.optimizers import Optimizer
from saltus.train.schedule import learning_rate_at
from saltus.train.state import MOMENTS

CPU = torch.device("cpu")
STEPS, FEW = 20, 6

OPTIMIZERS: list[dict[str, Any]] = [
    {"optimizer": "adamw", "betas": (0.8, 0.95)},
    {"optimizer": "sgd", "learning_rate": 0.1},
    {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    {"optimizer": "muon", "learning_rate": 0.01},
    {"optimizer": "muon", "learning_rate": 0.01, "momentum": 0.8},
    {"optimizer": "adamw", "rates": {"*.query.*": 3.0, "*.key.weight": 0.5, "*.mlp_*": 0.0}},
    {"optimizer": "muon", "rates": {"*.key.*": 0.25, "embedding.*": 4.0, "*.weight": 2.0}},
]

every_optimizer = pytest.mark.parametrize(
    "training", OPTIMIZERS, ids=lambda each: "-".join(str(value) for value in each.values())
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make_spec(**training: Any) -> RunSpec:
    values: dict[str, Any] = {
        "steps": 100,
        "batch_sequences": 8,
        "compile": False,
        "warmup": 5,
        "weight_decay": 0.1,
        "evaluation_sequences": 16,
    }
    return RunSpec(
        task=LinearMapSpec(size=4, sparsity=2),
        model=TransformerSpec(d_model=8, heads=2, d_mlp=12),
        training=TrainingSpec(**(values | training)),
        seeds=3,
    )


def make_model(spec: RunSpec, seed: int) -> Decoder:
    return build_model(spec.model, read_facts(spec), init_seed=seed)


def make_plain(training: TrainingSpec, model: nn.Module) -> list[torch.optim.Optimizer]:
    """What somebody would write for a plain module without rates."""
    named, decay = dict(model.named_parameters()), training.weight_decay
    if training.optimizer == "sgd":
        return [torch.optim.SGD(named.values(), momentum=training.momentum or 0.0, weight_decay=decay)]
    hidden = ("query_key_value.weight", "output.weight", "mlp_in.weight", "mlp_out.weight")
    chosen = [name for name in named if training.optimizer == "muon" and name.endswith(hidden)]
    rest = [value for name, value in named.items() if name not in chosen]
    plain: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, betas=training.betas, weight_decay=decay)]
    if chosen:
        momentum = 0.95 if training.momentum is None else training.momentum
        matrices = [named[name] for name in chosen]
        plain.append(torch.optim.Muon(matrices, momentum=momentum, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    return plain


def multiply_rates(rates: dict[str, float], name: str, value: Tensor) -> Tensor:
    """Of the weight `name`, what each number's rate is multiplied by; the patterns of these tests, written out."""
    factor, inner = torch.ones_like(value), len(value) // 3
    if "*.query.*" in rates and "query_key_value" in name:
        factor[:inner] *= rates["*.query.*"]
    if "*.key.weight" in rates and name.endswith("query_key_value.weight"):
        factor[inner : 2 * inner] *= rates["*.key.weight"]
    if "*.key.*" in rates and "query_key_value" in name:
        factor[inner : 2 * inner] *= rates["*.key.*"]
    if "*.mlp_*" in rates and ".mlp_" in name:
        factor *= rates["*.mlp_*"]
    if "embedding.*" in rates and name == "embedding.weight":
        factor *= rates["embedding.*"]
    if "*.weight" in rates and name.endswith(".weight"):
        factor *= rates["*.weight"]
    return factor


def step_plain(training: TrainingSpec, model: nn.Module, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    """A step at the schedule's rate. No update of these optimisers depends on the rate but by a factor."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for optimizer in optimizers:
        optimizer.param_groups[0]["lr"] = learning_rate_at(training, step)
        optimizer.step()
    with torch.no_grad():
        for name, value in model.named_parameters():
            factor = multiply_rates(training.rates, name, value)
            value.copy_(before[name] + factor * (value - before[name]))


@every_optimizer
def test_stacked_seeds_change_as_plain_modules_do(training: dict[str, Any]) -> None:
    spec = make_spec(**training)
    models = [make_model(spec, seed) for seed in range(3)]
    flat = torch.stack([nn.utils.parameters_to_vector(model.parameters()).detach() for model in models])
    before = flat.clone()
    optimizer = Optimizer(spec.training, flat, models[0])
    plain = [make_plain(spec.training, model) for model in models]
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        gradient = torch.randn(flat.shape, generator=generator)
        for model, share, own in zip(models, gradient, plain, strict=True):
            nn.utils.vector_to_parameters(share.clone(), (grads := [torch.empty_like(p) for p in model.parameters()]))
            for parameter, grad in zip(model.parameters(), grads, strict=True):
                parameter.grad = grad
            step_plain(spec.training, model, own, step)
        optimizer.update(step, gradient)
    expected = torch.stack([nn.utils.parameters_to_vector(model.parameters()).detach() for model in models])
    assert (expected - before).abs().max() > 1e-2
    torch.testing.assert_close(flat, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", OPTIMIZERS[1:4], ids=["sgd", "momentum", "muon"])
def test_training_equals_a_plain_loop(training: dict[str, Any]) -> None:
    spec = make_spec(**training)
    streams = Streams(spec.master_seed)
    task = build_task(spec.task, streams.generator("task"))
    model = build_model(spec.model, task.facts, streams.integer("init", 2))
    data = task.sample(streams.generator("data", 2, 0), DATA_BLOCK * 8).reshape(DATA_BLOCK, 8, -1)
    optimizers, losses = make_plain(spec.training, model), 0.0
    for step in range(STEPS):
        tokens = torch.from_numpy(data[step]).long()
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        step_plain(spec.training, model, optimizers, step)
        losses += loss.item()
    ensemble = Ensemble([spec], [Member(0, 2)], CPU, stacked=False)
    # Muon makes a matrix orthogonal in bfloat16, where the last bit of a gradient may become a bit of 2**-8.
    rounding = 1e-4 if spec.training.optimizer == "muon" else 1e-5
    assert ensemble.advance(STEPS)[Member(0, 2)].total == pytest.approx(losses, rel=rounding)


@every_optimizer
@pytest.mark.parametrize("stacked", [False, True])
def test_going_on_from_a_state_equals_not_having_stopped(training: dict[str, Any], stacked: bool) -> None:
    spec = make_spec(**training)
    members = [Member(0, 0), Member(0, 2)]
    unbroken = Ensemble([spec], members, CPU, stacked=stacked)
    unbroken.advance(7)
    saved = unbroken.state()
    expected = unbroken.advance(STEPS)
    resumed = Ensemble([spec], members, CPU, stacked=stacked)
    resumed.load(7, saved)
    assert resumed.advance(STEPS) == expected
    for member, state in unbroken.state().items():
        for name, value in resumed.state()[member].items():
            np.testing.assert_array_equal(value, state[name], err_msg=name)


def test_runs_that_differ_in_the_optimiser_train_together_as_alone() -> None:
    specs = [make_spec(**training) for training in OPTIMIZERS]
    assert len({spec.shape for spec in specs}) == 1
    members = [Member(run, seed) for run in range(len(specs)) for seed in (0, 1)]
    dealt, stacked = (Ensemble(specs, members, CPU, stacked=stacked) for stacked in (False, True))
    losses, close = dealt.advance(FEW), stacked.advance(FEW)
    assert len({loss.total for loss in losses.values()}) == len(members)
    for run, spec in enumerate(specs):
        alone = Ensemble([spec], [Member(0, 1)], CPU, stacked=False)
        assert alone.advance(FEW)[Member(0, 1)] == losses[Member(run, 1)]
        rounding = 1e-4 if spec.training.optimizer == "muon" else 1e-5  # as above
        assert close[Member(run, 1)].total == pytest.approx(losses[Member(run, 1)].total, rel=rounding)
        (state,) = alone.state().values()
        for name, value in dealt.state()[Member(run, 1)].items():
            np.testing.assert_array_equal(value, state[name], err_msg=name)


def test_a_rate_of_zero_leaves_a_weight_as_it_was_and_all_others_move() -> None:
    spec = make_spec(rates={"blocks.0.mixer.query.weight": 0.0})
    ensemble = Ensemble([spec], [Member(0, 0)], CPU, stacked=False)
    (before,) = ensemble.state().values()
    ensemble.advance(3)
    (after,) = ensemble.state().values()
    packed = "blocks.0.mixer.query_key_value.weight"
    assert np.array_equal(before[packed][:8], after[packed][:8])
    assert (before[packed][8:] != after[packed][8:]).all()
    assert all((before[name] != after[name]).any() for name in before if name not in MOMENTS)


class Killed(Ensemble):
    """One that does not come further than step 10."""

    def advance(self, step: int) -> dict[Member, TrainLoss]:
        if step > 10:
            raise KeyboardInterrupt
        return super().advance(step)


class Silent:
    """A listener that says nothing."""

    def resumed(self, step: int) -> None: ...

    def advanced(self, step: int) -> None: ...

    def evaluated(self, run: int, step: int, progress: Any) -> None: ...


@pytest.mark.parametrize("training", OPTIMIZERS[1:4], ids=["sgd", "momentum", "muon"])
def test_a_folder_keeps_what_the_optimiser_needs_to_go_on(training: dict[str, Any], tmp_path: Path) -> None:
    schedule = ScheduleSpec(first=5, every=5)
    spec = make_spec(**training, evaluate=schedule, snapshot=schedule, checkpoint=schedule)
    spec = spec.with_overrides(seeds=1, steps=STEPS)
    facts = read_facts(spec)

    def go(kind: type[Ensemble], folder: RunFolder) -> None:
        ensemble = kind([spec], [Member(0, 0)], CPU, stacked=False)
        with folder.training(spec, facts):
            train([Job(spec, folder, facts, (0,))], ensemble, Silent(), lambda run: None)

    killed, at_once = (RunFolder.of(tmp_path / name, spec) for name in ("killed", "once"))
    with pytest.raises(KeyboardInterrupt):
        go(Killed, killed)
    go(Ensemble, killed)
    go(Ensemble, at_once)
    (resumed,), (unbroken,) = killed.load([0]).values(), at_once.load([0]).values()
    assert MOMENTS[-1] in unbroken
    assert resumed.keys() == unbroken.keys()
    for name, value in unbroken.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    assert not {*MOMENTS} & at_once.weights(STEPS, 0).keys()


class Shift(nn.Module):
    """A mixer without a matrix: what the token before was."""

    def __init__(self, d_model: int, length: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 1, 0))[:, :-1] * self.scale


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"momentum": 0.9}, "momentum is 0.9 and optimizer is 'adamw', whose momentum is the first of its betas"),
        ({"optimizer": "sgd", "betas": (0.9, 0.95)}, r"betas are \(0.9, 0.95\) and optimizer is 'sgd', which has none"),
        ({"optimizer": "sgd", "momentum": 1.0}, "TrainingSpec.momentum: 1.0 was given; .* less than 1"),
        ({"optimizer": "adam"}, "TrainingSpec.optimizer: 'adam' was given; .*'adamw', 'sgd' or 'muon'"),
        ({"rates": {"*": -1.0}}, "TrainingSpec.rates: -1.0 was given; .* greater than or equal to 0"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SaltusError, match=sentence):
        make_spec(**change)


def test_weights_that_are_not_there_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match=r"training.rates: '\*.qkv.\*' was given, .* blocks.0.mixer.query.weight,"):
        api.run(make_spec(rates={"*.qkv.*": 2.0}), out=tmp_path, device="cpu")
    values = make_spec(optimizer="muon").model_dump()
    values["model"] = CustomSpec.of(Shift, d_model=8, d_mlp=0)
    with pytest.raises(SaltusError, match="'muon' was given, which is for the matrices of linear layers, and"):
        api.run(RunSpec(**values), out=tmp_path, device="cpu")
    assert list(tmp_path.iterdir()) == []
