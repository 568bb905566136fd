"""The arithmetic of a step's cost against PyTorch's own counter."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPTNeoXForCausalLM

from saltus.errors import SaltusError
from saltus.lm.pocket.run import build_config
from saltus.models import decoder
from saltus.models.build import build_model
from saltus.specs import (
    BiasSpec,
    CellularAutomatonSpec,
    DistillationSpec,
    LinearMapSpec,
    RepeatSpec,
    RunSpec,
    SupervisionSpec,
    TemperatureSpec,
    TrainingSpec,
    TransformerSpec,
)
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec
from saltus.specs.pocket_interventions import KnownPatternSpec, PocketDistillationSpec
from saltus.specs.tasks import TaskSpec
from saltus.studies.flops import Cost, match_operations, match_pockets, price_pocket, price_run
from saltus.tasks.build import read_facts
from saltus.train.flops import count_flops, count_pocket_flops


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (LinearMapSpec(size=6, sparsity=2), TransformerSpec(layers=1, d_model=16, heads=2)),
        (
            LinearMapSpec(size=6, sparsity=2, states=3),
            TransformerSpec(layers=3, d_model=16, heads=4, d_head=6, d_mlp=20),
        ),
        (CellularAutomatonSpec(size=5, states=4, rules=3), TransformerSpec(layers=2, d_model=12, heads=3)),
        (
            LinearMapSpec(size=6, sparsity=2),
            TransformerSpec(d_model=16, heads=2, d_mlp=0, positions="none", layer_norm=False, tied_embeddings=True),
        ),
    ],
)
def test_operations_are_those_that_pytorch_counts(
    task: TaskSpec, model: TransformerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "FEW_SYMBOLS", 0)  # every token is projected, as the arithmetic has it
    spec = RunSpec(name="work", task=task, model=model, training=TrainingSpec(steps=1, batch_sequences=7))
    module = build_model(spec.model, read_facts(spec), init_seed=0)
    tokens = torch.zeros(7, task.tokens - 1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        module(tokens).sum().backward()
    assert counter.get_total_flops() == pytest.approx(count_flops(spec), rel=1e-9)


def make_run(heads: int, d_mlp: int = 64) -> RunSpec:
    return RunSpec(
        task=LinearMapSpec(size=6, sparsity=2),
        model=TransformerSpec(d_model=16, heads=heads, d_head=8, d_mlp=d_mlp),
        training=TrainingSpec(steps=1, batch_sequences=7),
    )


def test_runs_are_matched_by_the_width_of_their_mlp() -> None:
    runs = match_operations({"first": make_run(4), "one": make_run(1), "five": make_run(5)})
    assert runs["first"] == make_run(4)
    assert runs["one"].model.mlp_width > 64 > runs["five"].model.mlp_width
    goal = count_flops(runs["first"])
    unit = count_flops(make_run(1, 2)) - count_flops(make_run(1, 1))
    assert all(abs(count_flops(run) - goal) <= unit / 2 for run in runs.values())
    with pytest.raises(SaltusError, match="operations in a step with an MLP of one unit, more than"):
        match_operations({"first": make_run(1, 1), "many": make_run(8)})
    assert match_operations({"first": make_run(4, 0)}) == {"first": make_run(4, 0)}
    with pytest.raises(SaltusError, match=r"alone has no MLP \(d_mlp is 0\) and .* operations in a step, not the"):
        match_operations({"first": make_run(4), "alone": make_run(4, 0)})


def test_what_an_intervention_adds_is_counted_and_so_is_a_teacher() -> None:
    plain, wide = make_run(2), make_run(4)
    step, teacher = count_flops(plain), count_flops(wide)

    def give(*interventions: BiasSpec | SupervisionSpec | DistillationSpec) -> RunSpec:
        return RunSpec.model_validate(plain.model_dump() | {"intervention": interventions})

    assert price_run(give(BiasSpec(strength=4.0)), 100).operations == 100 * step
    supervised = give(SupervisionSpec(weight=1.0, share=0.5, until=40))
    assert price_run(supervised, 100).operations == pytest.approx((100 + 20) * step)
    assert price_run(supervised, 10).operations == pytest.approx((10 + 5) * step)
    assert price_run(give(SupervisionSpec(weight=0.0)), 100).operations == 100 * step
    taught = give(DistillationSpec(teacher=wide.run_id, checkpoints=(20, 60), stretch=10, share=0.5))
    cost = price_run(taught, 100, wide)
    assert cost.operations == pytest.approx((100 + 50) * step + 50 * teacher / 3)  # the teacher goes forward alone
    assert cost.with_teacher == pytest.approx(cost.operations + 60 * teacher)
    assert price_run(taught, 100).with_teacher == price_run(taught, 100).operations


@pytest.mark.parametrize(
    "size",
    [
        PocketModelSpec(name="a", layers=2, d_model=16, heads=2),
        PocketModelSpec(name="b", layers=1, d_model=12, heads=3, d_mlp=20),
    ],
)
def test_operations_of_a_pocket_suite_are_those_that_pytorch_counts(size: PocketModelSpec) -> None:
    suite = make_suite(size)
    module = GPTNeoXForCausalLM(build_config(suite, size))
    module.set_attn_implementation("eager")  # of whose products the counter knows
    tokens = torch.zeros(suite.batch, suite.length - 1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        module(tokens, use_cache=False).logits.sum().backward()
    positions = counter.flop_counts["GPTNeoXForCausalLM.gpt_neox.rotary_emb"]
    expected = counter.get_total_flops() - sum(positions.values())  # the angles are no products of weights
    assert count_pocket_flops(suite, size) == pytest.approx(expected, rel=1e-9)


def make_suite(size: PocketModelSpec, **values: Any) -> PocketSpec:
    corpus = PeriodicCorpusSpec(vocabulary=12)
    return PocketSpec(name="work", models=(size,), corpus=corpus, length=9, batch=8, steps=100, every=50, **values)


def test_suites_are_matched_by_the_width_of_their_mlp() -> None:
    sizes = {f"h{heads}-w{width}": (heads, width) for heads, width in ((4, 32), (1, 8), (2, 16))}
    suites = {
        name: make_suite(PocketModelSpec(name=name, layers=2, d_model=width, heads=heads, d_mlp=40))
        for name, (heads, width) in sizes.items()
    }
    matched = match_pockets(suites)
    assert matched["h4-w32"] == suites["h4-w32"]
    goal = count_pocket_flops(matched["h4-w32"], matched["h4-w32"].models[0])
    for name, (_, width) in sizes.items():
        (size,) = matched[name].models
        unit = 3 * 8 * 8 * 2 * 2 * 2 * width  # thrice forward, sequences, queries, layers, two matrices
        assert abs(count_pocket_flops(matched[name], size) - goal) <= unit / 2
    assert matched["h1-w8"].models[0].mlp_width > matched["h2-w16"].models[0].mlp_width > 40
    small, large = (
        suites["h1-w8"],
        suites["h4-w32"].vary(models=(PocketModelSpec(name="l", layers=9, d_model=32, heads=4),)),
    )
    with pytest.raises(SaltusError, match=r"large has .* operations in a step with an MLP of one unit, more than"):
        match_pockets({"small": small, "large": large})


def test_what_interventions_on_a_pocket_suite_add_is_counted() -> None:
    size, wide = (PocketModelSpec(name=f"w{width}", layers=1, d_model=width, heads=2) for width in (16, 32))
    teachers = make_suite(wide).vary(models=(size, wide), batch=4)
    step, teacher = count_pocket_flops(make_suite(size), size), count_pocket_flops(teachers, wide)
    plain = price_pocket(make_suite(size), 10)
    assert plain == Cost(10, 10 * 8 * 9, 10 * step, 10 * step)
    for free in (TemperatureSpec(factor=2.0), RepeatSpec(sequences=9, probability=0.5)):
        assert price_pocket(make_suite(size, intervention=free), 10) == plain
    supervised = make_suite(size, intervention=KnownPatternSpec(pattern="induction", weight=1.0, share=0.25, until=40))
    assert price_pocket(supervised, 100).operations == pytest.approx(110 * step)
    learned = PocketDistillationSpec(
        teacher=teachers.identify("work"), size="w32", checkpoints=(50, 100), stretch=10, share=0.5
    )
    cost = price_pocket(make_suite(size, intervention=learned), 60, teachers)
    assert cost.operations == pytest.approx((60 + 30) * step + 30 * 2 * teacher / 3)  # twice as many sequences
    assert cost.with_teacher == pytest.approx(cost.operations + 100 * teacher)
