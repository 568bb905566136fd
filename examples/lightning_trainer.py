"""A tiny Llama in Lightning's Trainer, which needs lightning: python examples/lightning_trainer.py"""

import lightning
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from saltus.monitor import Monitor

LETTERS = 26


class Repeated(torch.utils.data.Dataset[Tensor]):
    """A string of 6 to 18 letters, again and again."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        length = int(torch.randint(6, 19, (), generator=generator))
        return torch.randperm(LETTERS, generator=generator)[:length].repeat(8)[:48]


class Language(lightning.LightningModule):
    """A model of transformers, which the monitor finds inside."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        self.model = LlamaForCausalLM(LlamaConfig(vocab_size=LETTERS, max_position_embeddings=64, **sizes))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.model(input_ids=batch, labels=batch).loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def main(folder: str = "runs/lightning", steps: int = 600) -> None:
    lightning.seed_everything(0)
    data = torch.utils.data.DataLoader(Repeated(), batch_size=32)
    monitor = Monitor(folder, tokens=torch.stack([Repeated()[-1 - index] for index in range(8)]))
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[monitor.lightning_callback()],
    )
    trainer.fit(Language(), data)


if __name__ == "__main__":
    main()
