"""A tiny Llama in transformers' Trainer, which needs accelerate: python examples/huggingface_trainer.py"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments

from saltus.monitor import Monitor

WORDS = [*"abcdefghijklmnopqrstuvwxyz"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words)


class Repeated(torch.utils.data.Dataset[dict[str, Tensor]]):
    """A string of 6 to 18 letters, again and again."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(index)
        length = int(torch.randint(6, 19, (), generator=generator))
        tokens = torch.randperm(len(WORDS), generator=generator)[:length].repeat(8)[:48]
        return {"input_ids": tokens, "labels": tokens}


def main(folder: str = "runs/trainer", steps: int = 600) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=len(WORDS), max_position_embeddings=64, attention_dropout=0.1, **sizes)
    monitor = Monitor(folder, tokenizer=make_tokenizer(), capabilities=["repetition"])
    with TemporaryDirectory() as place:
        settings = TrainingArguments(
            output_dir=str(Path(place)),
            max_steps=steps,
            per_device_train_batch_size=32,
            learning_rate=3e-3,
            logging_steps=50,
            report_to="none",
            save_strategy="no",
        )
        Trainer(LlamaForCausalLM(config), settings, train_dataset=Repeated(), callbacks=[monitor.callback()]).train()


if __name__ == "__main__":
    main()
