"""Prompts of one length, together as tensors; nothing is ever padded."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.tokens import shorten


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of one length with targets of one length."""

    index: tuple[int, ...]
    """[prompt] the place of each among all prompts."""
    tokens: Tensor
    """[prompt, position] the prompt, then its target without the last token: what the model is given."""
    targets: Tensor
    """[prompt, scored] the target, predicted at the last positions."""
    foils: Tensor
    """[prompt, foil] wrong answers of one token to targets of one token; -1 where there are fewer, or none."""

    @property
    def scored(self) -> int:
        """How many of the last positions predict a token of the target."""
        return self.targets.shape[1]

    def take(self, part: slice) -> "PromptBatch":
        """Some of its prompts."""
        return PromptBatch(self.index[part], self.tokens[part], self.targets[part], self.foils[part])

    def score(self, logits: Tensor) -> Tensor:
        """Log probability of the whole target [..., prompt], in nats, from logits [..., prompt, scored, symbol]."""
        logits = logits.float()
        index = self.targets[..., None].expand(*logits.shape[:-1], 1)
        chosen = logits.gather(-1, index)[..., 0] - logits.logsumexp(-1)
        return chosen.sum(-1)

    def compare(self, logits: Tensor) -> Tensor:
        """Logit of the target less that of its best foil [..., prompt], from logits [..., prompt, scored, symbol].

        That is the difference of their log probabilities, in nats; NaN where a prompt has no foils of one token.
        """
        last = logits[..., -1, :].float()  # [..., prompt, symbol]
        shape = last.shape[:-1]
        target = last.gather(-1, self.targets[:, -1:].expand(*shape, 1))[..., 0]
        best = last.gather(-1, self.foils.clamp(min=0).expand(*shape, -1))
        best = best.masked_fill(self.foils < 0, -torch.inf).amax(-1)
        return (target - best).masked_fill((self.foils < 0).all(-1), torch.nan)


def batch_prompts(prompts: Sequence[Prompt], device: torch.device) -> tuple[PromptBatch, ...]:
    """The prompts grouped by the lengths of prompt and target, in the order in which a length first comes."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault((len(prompt.tokens), len(prompt.target)), []).append(index)
    return tuple(
        PromptBatch(
            index=tuple(group),
            tokens=torch.tensor([[*prompts[i].tokens, *prompts[i].target[:-1]] for i in group], device=device),
            targets=torch.tensor([prompts[i].target for i in group], device=device),
            foils=torch.tensor(_pad_foils([prompts[i] for i in group]), device=device),
        )
        for group in groups.values()
    )


def _pad_foils(prompts: Sequence[Prompt]) -> list[list[int]]:
    """[prompt, foil] of prompts all of whose foils, and whose target, are of one token; -1 elsewhere."""
    foils = [
        [token for (token,) in prompt.foils] if all(len(each) == 1 for each in (prompt.target, *prompt.foils)) else []
        for prompt in prompts
    ]
    most = max(1, *map(len, foils))
    return [[*several, *[-1] * (most - len(several))] for several in foils]


def check_prompts(model: PreTrainedModel, prompts: Sequence[Prompt]) -> None:
    """Refuse a prompt that is longer than the model's context, or holds a token that it does not know."""
    context: int | None = getattr(model.config, "max_position_embeddings", None)
    known: int | None = getattr(model.config, "vocab_size", None)
    for prompt in prompts:
        length = len(prompt.tokens) + max(map(len, (prompt.target, *prompt.foils))) - 1
        if context is not None and length > context:
            raise SaltusError(
                f"the prompt {shorten(prompt.text)} needs {length} tokens and the model reads at most {context}; "
                "ask for shorter prompts"
            )
        largest = max(*prompt.tokens, *prompt.target, *(token for foil in prompt.foils for token in foil))
        if known is not None and largest >= known:
            raise SaltusError(
                f"the prompt {shorten(prompt.text)} holds the token {largest} and the model knows {known} tokens; "
                "put the model's own tokenizer beside it"
            )
