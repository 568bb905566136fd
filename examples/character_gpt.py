"""A GPT on letters in a plain loop, as nanoGPT has it: python examples/character_gpt.py"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.monitor import Monitor

LETTERS, WIDTH, HEADS, LAYERS, CONTEXT = 26, 64, 4, 2, 48


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(LETTERS, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.qkv = nn.ModuleList(nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)) for _ in range(LAYERS))
        self.out = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1)) for _ in range(LAYERS))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, LETTERS))

    def forward(self, tokens: Tensor, attention: list[Tensor] | None = None) -> Tensor:
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        for qkv, out in zip(self.qkv, self.out, strict=True):
            q, k, v = qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)  # [sequence, head, position, ...]
            if attention is not None:  # when the monitor asks for it
                scores = q @ k.transpose(2, 3) / k.shape[3] ** 0.5
                attention.append(scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -torch.inf).softmax(3))
            x = x + out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return self.head(x)


def draw_text(sequences: int) -> Tensor:  # a word of 6 to 18 letters, again and again
    return torch.rand(sequences, LETTERS).argsort(1)[:, : torch.randint(6, 19, ())].repeat(1, CONTEXT)[:, :CONTEXT]


def read_attention(model: GPT, tokens: Tensor) -> list[Tensor]:
    model(tokens, layers := [])
    return layers


def repeating(model: GPT) -> float:  # share of right letters once the word has stood there
    texts = draw_text(64)
    return float((model(texts).argmax(2)[:, 20:-1] == texts[:, 21:]).float().mean())


def main(folder: str = "runs/character-gpt", steps: int = 500) -> None:
    torch.manual_seed(0)
    model, probe = GPT(), draw_text(8)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with Monitor(folder, capabilities=[repeating], tokens=probe, attention=read_attention) as monitor:
        for step in range(1, steps + 1):
            batch = draw_text(32)  # [sequence, position]
            loss = F.cross_entropy(model(batch)[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            monitor.step(step, model, loss=loss)


if __name__ == "__main__":
    main()
