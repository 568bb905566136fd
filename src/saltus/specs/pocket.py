"""Description of a pocket suite: a family of small language models that is trained here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from saltus.specs.base import Spec, digest
from saltus.specs.interventions import AttentionSpec, BaseInterventionSpec
from saltus.specs.pocket_interventions import PocketInterventionSpecs


class PocketModelSpec(Spec):
    """One size of a pocket suite: a GPT-NeoX model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")
    layers: int = Field(ge=1, le=64)
    d_model: int = Field(ge=1, le=4096)
    heads: int = Field(ge=1, le=256)
    rotary: float = Field(default=1.0, gt=0.0, le=1.0, description="share of the head that rotary positions turn")
    d_mlp: int | None = Field(default=None, ge=1, description="width of the MLP; four times d_model if None")

    @property
    def mlp_width(self) -> int:
        """The width of the MLP."""
        return self.d_mlp or 4 * self.d_model

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.d_model % self.heads or (self.d_model // self.heads) % 2:
            raise ValueError(
                f"heads is {self.heads} and d_model {self.d_model}; the heads must divide the width into even parts"
            )
        return self


class PeriodicCorpusSpec(Spec):
    """Random strings repeated at random periods."""

    kind: Literal["periodic"] = "periodic"
    vocabulary: int = Field(default=32, ge=10, le=4096)


class TextCorpusSpec(Spec):
    """Text with a byte-level BPE trained on it: a file's or a folder's, or the Python standard library's sources."""

    kind: Literal["text"] = "text"
    path: str | None = Field(default=None, description="a text file, or a folder of them; the standard library if None")
    sha256: str = Field(description="of the text")
    vocabulary: int = Field(default=4096, ge=300, le=65536)


CorpusSpec = Annotated[PeriodicCorpusSpec | TextCorpusSpec, Field(discriminator="kind")]


class PocketSpec(Spec):
    """A family of small GPT-NeoX models, several sizes by several seeds, with checkpoints on Pythia's schedule."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    models: tuple[PocketModelSpec, ...] = Field(min_length=1)
    seeds: int = Field(default=4, ge=1, le=256)
    corpus: CorpusSpec
    length: int = Field(default=32, ge=4, le=8192, description="tokens in a sequence")
    batch: int = Field(default=64, ge=1, description="sequences in a batch")
    steps: int = Field(ge=1)
    every: int = Field(ge=1, description="checkpoints at 0, 1, 2, 4, ... below this, then at its multiples")
    learning_rate: float = Field(default=2e-3, gt=0.0, le=10.0)
    warmup: int = Field(default=20, ge=0, description="steps over which the learning rate rises linearly")
    weight_decay: float = Field(default=0.01, ge=0.0)
    initialisation_scale: float = Field(
        default=1.0, gt=0.0, le=100.0, description="factor on the standard deviation of 0.02 of the first weights"
    )
    intervention: PocketInterventionSpecs = Field(
        default=None, description="what is done to attention, data or loss while it trains: None, one, or several"
    )
    master_seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"models are named {', '.join(names)}; names must differ")
        return self

    @model_validator(mode="after")
    def _check_intervention(self) -> Self:
        for model in self.models:
            for intervention in self.interventions:
                if isinstance(intervention, AttentionSpec):
                    intervention.check_heads(model.layers, model.heads)
        return self

    @property
    def interventions(self) -> tuple[BaseInterventionSpec, ...]:
        """All of them, in their order."""
        if isinstance(self.intervention, tuple):
            return self.intervention
        return () if self.intervention is None else (self.intervention,)

    def vary(self, **values: Any) -> Self:
        """The suite with other values, checked again."""
        return type(self)(**self.model_dump() | values)

    @property
    def former_hash(self) -> str:
        """The hash by which version 0.1 named its folders: of all keys but later ones that are at their defaults."""
        values = self.model_dump(mode="json")
        later = {"initialisation_scale": 1.0, "intervention": None, "d_mlp": None}
        for part in (values, *values["models"]):
            for name, default in later.items():
                if name in part and part[name] == default:
                    del part[name]
        return digest(values)
