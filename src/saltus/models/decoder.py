"""The backbone of every model here, for one seed: embedding, blocks of a token mixer and an MLP, unembedding.

Shape comments: n sequences, q queries, k keys, h heads, m model width, p width of what a mixer projects to, b branches:
mixers and MLPs, in the order in which they add to the residual stream.
"""

from collections.abc import Callable
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.specs.models import BackboneSpec

FEW_SYMBOLS = 8
"""Up to so many, the first block's projection is made once for each symbol and position, not for each token."""


class Mixer(Protocol):
    """What moves information between positions, from earlier to later ones alone."""

    def project(self, x: Tensor) -> Tensor:
        """[..., m] -> [..., p]: what the mixer does first to each token on its own."""
        ...

    def mix(self, projected: Tensor, bias: Tensor | None, *, keep: bool) -> tuple[Tensor, Tensor | None]:
        """[n, q, p] -> the layer's output [n, q, m] and, where it is kept and there is one, its pattern [n, h, q, k].

        `bias` is added to attention logits and broadcasts to [h, q, k].
        """
        ...


class WithoutPattern(nn.Module):
    """A mixer that is a module from [n, q, m] to [n, q, m]: it has no pattern to read or to bias."""

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def project(self, x: Tensor) -> Tensor:
        """Nothing: the module does all of it."""
        return x

    def mix(self, projected: Tensor, bias: Tensor | None, *, keep: bool) -> tuple[Tensor, None]:
        """As `Mixer.mix`."""
        return self.mixer(projected), None


class Block(nn.Module):
    """A token mixer, then an MLP with GELU, each behind a layer normalisation and around a residual."""

    def __init__(self, spec: BackboneSpec, mixer: Mixer) -> None:
        super().__init__()
        self.mixer_norm = _make_norm(spec)
        self.mixer = mixer
        self.has_mlp = spec.mlp_width > 0
        if self.has_mlp:
            self.mlp_norm = _make_norm(spec)
            self.mlp_in = nn.Linear(spec.d_model, spec.mlp_width)
            self.mlp_out = nn.Linear(spec.mlp_width, spec.d_model)
        self._factor = 1.0 / (1.0 - spec.dropout)

    def project(self, x: Tensor) -> Tensor:
        """[..., m] -> [..., p]: what the block does to each token on its own before it mixes."""
        return self.mixer.project(self.mixer_norm(x))

    def forward(
        self, x: Tensor, projected: Tensor, bias: Tensor | None, kept: Tensor | None, *, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        """[n, q, m] and its projection -> the residual stream [n, q, m] and the pattern [n, h, q, k], if kept.

        `kept` says which numbers of the block's branches dropout leaves, Boolean [n, b, q, m]; None drops nothing.
        """
        mixed, pattern = self.mixer.mix(projected, bias, keep=keep)
        x = x + (mixed if kept is None else self._drop(mixed, kept[:, 0]))
        if self.has_mlp:
            added = self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))
            x = x + (added if kept is None else self._drop(added, kept[:, 1]))
        return x, pattern

    def _drop(self, added: Tensor, kept: Tensor) -> Tensor:
        """Numbers that are left out are 0; the others grow, so that the expectation stays (arXiv 1207.0580)."""
        return added * self._factor * kept


def _make_norm(spec: BackboneSpec) -> nn.Module:
    return nn.LayerNorm(spec.d_model) if spec.layer_norm else nn.Identity()


class Decoder(nn.Module):
    """Tokens to next-token logits."""

    def __init__(
        self, spec: BackboneSpec, make_mixer: Callable[[], Mixer], *, symbols: int, length: int, learned_positions: bool
    ) -> None:
        """`make_mixer` gives a new mixer for each layer; `learned_positions` adds a vector for each position."""
        super().__init__()
        self.embedding = nn.Embedding(symbols, spec.d_model)
        self.positions = nn.Parameter(torch.empty(length, spec.d_model)) if learned_positions else None
        self.blocks = cast("list[Block]", nn.ModuleList(Block(spec, make_mixer()) for _ in range(spec.layers)))
        self.norm = _make_norm(spec)
        self.unembedding = nn.Linear(spec.d_model, symbols)
        self.tied = spec.tied_embeddings
        if self.tied:
            self.unembedding.register_parameter("weight", None)  # it is the embedding's; a bias of its own stays
        nn.init.normal_(self.embedding.weight, std=0.02)
        if self.positions is not None:
            nn.init.normal_(self.positions, std=0.02)

    def forward(self, tokens: Tensor, bias: Tensor | None = None, kept: Tensor | None = None) -> Tensor:
        """Tokens [n, q] -> float32 logits of the next token [n, q, symbol].

        `bias` is added to the attention logits of every layer before the softmax; it broadcasts to
        [layer, h, q, k]. `kept` says which numbers dropout leaves, Boolean [n, b, q, m]; nothing is dropped without it.
        """
        return self._run(tokens, bias, kept, keep=False)[0]

    def forward_with_patterns(self, tokens: Tensor, bias: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `forward`, and the attention after the softmax of each layer, [n, h, q, k]."""
        return self._run(tokens, bias, None, keep=True)

    def _run(
        self, tokens: Tensor, bias: Tensor | None, kept: Tensor | None, *, keep: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        x, projected = self._embed(tokens)
        biases = [None] * len(self.blocks) if bias is None else bias.expand(len(self.blocks), -1, -1, -1)
        dropped = [None] * len(self.blocks) if kept is None else kept.unflatten(1, (len(self.blocks), -1)).unbind(1)
        patterns: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            if layer:
                projected = block.project(x)
            x, pattern = block(x, projected, biases[layer], dropped[layer], keep=keep)
            if pattern is not None:
                patterns.append(pattern)
        return self._unembed(self.norm(x)).float(), tuple(patterns)

    def _unembed(self, x: Tensor) -> Tensor:
        return F.linear(x, (self.embedding if self.tied else self.unembedding).weight, self.unembedding.bias)

    def _embed(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[n, q] -> what enters the first block, [n, q, m], and its projection there, [n, q, 3*h*d]."""
        q = tokens.shape[1]
        positions = torch.zeros_like(self.embedding.weight[:1]) if self.positions is None else self.positions[:q]
        reduced = torch.is_autocast_enabled(tokens.device.type)  # products are cheap then, and taking rows is not
        if reduced or self.embedding.num_embeddings > FEW_SYMBOLS:
            x = self.embedding(tokens) + positions
            return x, self.blocks[0].project(x)
        # A token and its position are all that enters: c*q different vectors, however many sequences there are.
        table = self.embedding.weight[:, None] + positions  # [c, q, m]
        return _select(table, tokens), _select(self.blocks[0].project(table), tokens)


def _select(table: Tensor, tokens: Tensor) -> Tensor:
    """Of a table [c, q, m] the rows of the tokens [n, q] -> [n, q, m].

    Written as a sum with one term that is not zero, because its gradient is a sum too: that of a look-up adds up
    element by element.
    """
    symbols = torch.arange(len(table), device=tokens.device)
    chosen = (tokens[..., None] == symbols).to(table.dtype)  # [n, q, c]
    return (chosen[..., None] * table.transpose(0, 1)).sum(2)  # [n, q, c, m] -> [n, q, m]
