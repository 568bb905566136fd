"""A small language model that learns induction while its page is open: python examples/watch_induction.py"""

import threading
from pathlib import Path

import torch
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from saltus import ScheduleSpec, api
from saltus.monitor import Monitor

WORDS, LENGTH, FOLDER = 32, 32, "runs/watch-induction"


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words)


def draw_texts(sequences: int) -> Tensor:  # random words that repeat, each sequence with a period of its own
    periods = torch.randint(2, LENGTH // 2 + 1, (sequences, 1))
    return torch.randint(WORDS, (sequences, LENGTH)).gather(1, torch.arange(LENGTH) % periods)


def main(folder: str = FOLDER, steps: int = 2500) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = GPTNeoXConfig(vocab_size=WORDS, max_position_embeddings=2 * LENGTH, **sizes)
    model, tokenizer = GPTNeoXForCausalLM(config), make_tokenizer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4)
    often = ScheduleSpec(every=20)
    with Monitor(folder, tokenizer=tokenizer, capabilities=["repetition"], schedule=often, at_most=0.2) as monitor:
        monitor.step(0, model)
        for step in range(1, steps + 1):
            batch = draw_texts(32)
            loss = model(batch, labels=batch).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            monitor.step(step, model, loss=loss)


if __name__ == "__main__":
    torch.set_num_threads(1)
    console = Console()
    with api.watch_beside([Path(FOLDER)], tell=lambda address: console.print(f"open {address}")):
        main()
        console.print("the training has ended; the page stays until Ctrl-C")
        threading.Event().wait()
