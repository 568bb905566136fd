"""Descriptions of token mixers: bad ones are refused in a sentence, and the kind decides which keys there are."""

from collections.abc import Callable
from typing import Any

import pytest

from saltus.errors import SaltusError
from saltus.specs import (
    ConvolutionSpec,
    GatedDeltaNetSpec,
    LinearAttentionSpec,
    LinearMapSpec,
    LinearRnnSpec,
    MambaSpec,
    MlpMixerSpec,
    MlstmSpec,
    RunSpec,
    RwkvSpec,
    TrainingSpec,
    TransformerSpec,
)
from saltus.specs.models import BackboneSpec

KINDS: list[type[BackboneSpec]] = [
    TransformerSpec,
    MlpMixerSpec,
    MambaSpec,
    GatedDeltaNetSpec,
    RwkvSpec,
    MlstmSpec,
    LinearRnnSpec,
    LinearAttentionSpec,
    ConvolutionSpec,
]


def make_run(model: Any) -> RunSpec:
    return RunSpec(
        name="tiny",
        task=LinearMapSpec(size=4, sparsity=2),
        model=model,
        training=TrainingSpec(steps=1, batch_sequences=1),
    )


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: MlpMixerSpec(variant="heads"), ["heads is None", "divides d_model 128"]),
        (lambda: MlpMixerSpec(variant="heads", heads=3), ["heads is 3", "divides d_model 128"]),
        (lambda: MlpMixerSpec(heads=4), ["heads is 4", "variant is 'single'", "only the variant 'heads'"]),
        (lambda: GatedDeltaNetSpec(heads=3), ["heads is 3", "does not divide d_model 128", "d_head"]),
        (lambda: MlstmSpec(d_model=6, heads=4), ["heads is 4", "does not divide d_model 6", "d_head"]),
        (lambda: LinearRnnSpec(heads=3), ["heads is 3", "width of the recurrence 128", "d_state"]),
        (lambda: LinearRnnSpec(d_state=20), ["heads is 8", "width of the recurrence 20"]),
        (lambda: MambaSpec(d_state=0), ["MambaSpec.d_state", "0 was given", "greater than or equal to 1"]),
        (lambda: ConvolutionSpec(conv_width=65), ["conv_width", "65 was given", "less than or equal to 64"]),
        (
            lambda: RwkvSpec.model_validate({"positions": "rotary"}),
            ["'rotary' was given", "'learned' or 'none'"],
        ),
        (
            lambda: RwkvSpec.model_validate({"heads": 4}),
            ["RwkvSpec.heads", "no such key", "kind, positions"],
        ),
        (lambda: make_run({"kind": "mamba", "heads": 4}), ["MambaSpec.heads", "no such key", "d_state"]),
        (lambda: make_run({"kind": "mambo"}), ["RunSpec.model", "'mambo'", "mlp_mixer, mamba"]),
        (lambda: make_run({}), ["RunSpec.model", "the key 'kind' is required"]),
    ],
)
def test_a_bad_description_is_refused_in_a_sentence(make: Callable[[], object], parts: list[str]) -> None:
    with pytest.raises(SaltusError) as caught:
        make()
    assert [part for part in parts if part not in str(caught.value)] == [], str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_keeps_the_kind_of_its_model(kind: type[BackboneSpec]) -> None:
    model = kind.model_validate({"d_model": 32})
    run = make_run(model)
    again = RunSpec(**run.model_dump(mode="json"))
    assert type(again.model) is kind
    assert again.run_id == run.run_id == make_run(model.model_dump()).run_id


def test_the_kind_of_the_model_is_in_the_run_id() -> None:
    assert len({make_run(kind.model_validate({})).run_id for kind in KINDS}) == len(KINDS)


def test_what_is_left_out_is_as_published() -> None:
    assert MambaSpec(d_model=40).step_rank == 3
    assert MlstmSpec(d_model=40, heads=4).key_dimension == 5
    assert LinearRnnSpec(d_model=40).state_dimension == 40
    assert GatedDeltaNetSpec(d_model=40, heads=4).head_dimension == 10
