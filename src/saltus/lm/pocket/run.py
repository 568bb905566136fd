"""One run of a pocket suite: one size, one seed, in this process.

What a run is depends on its size, its seed and the suite's settings alone, never on which other runs there are; runs
of the same seed see the same data in the same order, whatever their size.
"""

import hashlib
import math
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from saltus.errors import SaltusError
from saltus.lm.pocket.corpora import Corpus
from saltus.lm.pocket.folder import PocketRunFolder
from saltus.lm.pocket.interventions.base import Around
from saltus.lm.pocket.interventions.several import Several
from saltus.seeding import Streams
from saltus.specs.pocket import PocketModelSpec, PocketSpec

DATA_BLOCK = 32
"""Steps whose data one generator call draws: part of what a seed's data are."""

CHUNK = 20
"""Steps between two reports of progress. It has no influence on the numbers."""

MICRO_BATCH_TOKENS = 4096
"""Tokens that go through the model at once: bounds the memory that activations and logits take."""

_MOMENTS = ("exp_avg", "exp_avg_sq")

_DEVIATION = 0.02
"""Standard deviation of the first weights, as of GPT-NeoX."""


class RunListener(Protocol):
    """Somebody who watches one run."""

    def started(self, step: int) -> None:
        """The run goes on from `step`, 0 where it begins."""
        ...

    def advanced(self, step: int, loss: float) -> None:
        """`step` updates are done; the mean training loss since the last report, in nats a token."""
        ...


def build_config(spec: PocketSpec, model: PocketModelSpec) -> GPTNeoXConfig:
    """What transformers needs to know of a size of a suite."""
    turned = model.d_model // model.heads * model.rotary
    if not math.isclose(turned, round(turned)) or round(turned) % 2 or turned < 1:
        raise SaltusError(
            f"model {model.name}: rotary is {model.rotary} of heads of {model.d_model // model.heads} dimensions, "
            f"which is {turned:g} of them; choose a share that gives an even number"
        )
    return GPTNeoXConfig(
        vocab_size=spec.corpus.vocabulary,
        hidden_size=model.d_model,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=model.mlp_width,
        initializer_range=_DEVIATION * spec.initialisation_scale,
        max_position_embeddings=spec.length,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": model.rotary},
        bos_token_id=None,
        eos_token_id=None,
    )


class PocketRun:
    """The weights, the optimiser and the data of one run."""

    def __init__(
        self, spec: PocketSpec, model: PocketModelSpec, seed: int, corpus: Corpus, beside: Path | None = None
    ) -> None:
        """`beside` is the folder of suites, in which lie those that its interventions need."""
        self._spec, self._seed, self._corpus = spec, seed, corpus
        self._streams = Streams(spec.master_seed)
        self._interventions = Several(Around(spec, model, corpus, beside))
        config = build_config(spec, model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._streams.integer("pocket_init", _number(model.name), seed))
            self._start(GPTNeoXForCausalLM(config), step=0)
        self._interventions.initialise(self.model)
        self._block_number = -1

    def advance(self, step: int) -> float:
        """Train until `step` updates are done; the sum of the batches' losses on the way, in nats a token."""
        total = 0.0
        while self.step < step:
            with self._interventions.steering(self.step, self.model):
                generator = self._streams.generator("intervention_data", self._seed, self.step)
                total += self._update(self._interventions.data(self.step, self._batch(self.step), generator))
            self.step += 1
        return total

    def save(self, folder: PocketRunFolder) -> None:
        """Commit a checkpoint of this moment."""
        folder.commit(self.step, self.model.save_pretrained, lambda path: save_file(self._moments(), path))

    def load(self, folder: PocketRunFolder, step: int) -> None:
        """Go on from the checkpoint of `step`."""
        self._start(GPTNeoXForCausalLM.from_pretrained(folder.checkpoint(step)), step)
        moments = load_file(folder.moments(step))
        for name, parameter in self.model.named_parameters():
            own = {moment: moments[f"{moment}.{name}"] for moment in _MOMENTS}
            self._optimizer.state[parameter] = {"step": torch.tensor(float(step)), **own}

    def _start(self, model: GPTNeoXForCausalLM, step: int) -> None:
        self.model, self.step = model.train(), step
        self._optimizer = torch.optim.AdamW(model.parameters(), weight_decay=self._spec.weight_decay, fused=True)

    def _moments(self) -> dict[str, Tensor]:
        """Those of each parameter; zeros before the first update."""
        state = self._optimizer.state
        return {
            f"{moment}.{name}": state[parameter].get(moment, torch.zeros_like(parameter))
            for name, parameter in self.model.named_parameters()
            for moment in _MOMENTS
        }

    def _batch(self, step: int) -> Tensor:
        """The data of one step, [sequence, token]: they depend on the seed and the step alone."""
        block, offset = divmod(step, DATA_BLOCK)
        if block != self._block_number:
            generator = self._streams.generator("pocket_data", self._seed, block)
            drawn = self._corpus.draw(generator, DATA_BLOCK * self._spec.batch, self._spec.length)
            self._block = torch.from_numpy(drawn).unflatten(0, (DATA_BLOCK, -1))  # [step, sequence, token]
            self._block_number = block
        return self._block[offset]

    def _update(self, tokens: Tensor) -> float:
        """One AdamW step on [sequence, token]; the loss, without what interventions add."""
        self._optimizer.zero_grad()
        total = 0.0
        for part in tokens.split(max(1, MICRO_BATCH_TOKENS // tokens.shape[1])):
            logits = self.model(part[:, :-1], use_cache=False).logits  # [sequence, query, token]
            loss = F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten()) * (len(part) / len(tokens))
            loss.backward()
            total += loss.item()
        if (added := self._interventions.loss(self.step, self.model, tokens)) is not None:
            added.backward()
        rise = min(1.0, (self.step + 1) / max(1, self._spec.warmup))
        self._optimizer.param_groups[0]["lr"] = self._spec.learning_rate * rise
        self._optimizer.step()
        return total


def train_run(run: PocketRun, folder: PocketRunFolder, listener: RunListener) -> None:
    """Train from the newest checkpoint to the last, saving on schedule."""
    latest = folder.latest()
    if latest is not None and latest == folder.schedule[-1]:  # it has no moments: nothing goes on from there
        listener.started(latest)
        return
    if latest is None:
        run.save(folder)
    else:
        run.load(folder, latest)
    listener.started(run.step)
    for step in (step for step in folder.schedule if step > run.step):
        while run.step < step:
            before = run.step
            total = run.advance(min(step, before + CHUNK))
            listener.advanced(run.step, total / (run.step - before))
        run.save(folder)


def _number(name: str) -> int:
    """A number of 32 bits for a name, so that a size is initialised alike in every suite."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
