"""A small BERT, from its config alone, that learns whether a sentence is more pleased than not.

    python train.py experiment=bert

Its optimizer spares biases and norms the weight decay, and its rate warms up step by step.
"""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import BinaryF1Score
from transformers import (
    BatchEncoding,
    BertConfig,
    BertForSequenceClassification,
    get_linear_schedule_with_warmup,
)

WORDS, LENGTH = 40, 12  # word 0 is padding; 1 to 5 are pleased, 6 to 10 are not


class SentimentBert(L.LightningModule):
    """Arguments: the size of the network, and how it is trained."""

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        dropout: float = 0.05,
        lr: float = 5e-3,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        config = BertConfig(
            vocab_size=WORDS,
            hidden_size=hidden_size,
            num_hidden_layers=num_layers,
            num_attention_heads=2,
            intermediate_size=2 * hidden_size,
            max_position_embeddings=LENGTH,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            num_labels=2,
        )
        self.bert = BertForSequenceClassification(config)
        self.val_f1, self.test_f1 = BinaryF1Score(), BinaryF1Score()

    def forward(self, batch: BatchEncoding) -> Any:
        return self.bert(**batch)

    def training_step(self, batch: BatchEncoding, batch_idx: int) -> Tensor:
        loss = self(batch).loss
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: BatchEncoding, batch_idx: int) -> None:
        output = self(batch)
        self.val_f1.update(output.logits.argmax(dim=-1), batch["labels"])
        self.log("val_loss", output.loss)

    def on_validation_epoch_end(self) -> None:
        self.log("val_f1", self.val_f1.compute(), prog_bar=True)
        self.val_f1.reset()

    def test_step(self, batch: BatchEncoding, batch_idx: int) -> None:
        self.test_f1.update(self(batch).logits.argmax(dim=-1), batch["labels"])

    def on_test_epoch_end(self) -> None:
        self.log("test_f1", self.test_f1.compute())
        self.test_f1.reset()

    def configure_optimizers(self) -> dict[str, Any]:
        spared = ("bias", "LayerNorm.weight")
        named = list(self.named_parameters())
        groups = [
            {
                "params": [p for name, p in named if not name.endswith(spared)],
                "weight_decay": self.hparams.weight_decay,
            },
            {"params": [p for name, p in named if name.endswith(spared)], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.hparams.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = get_linear_schedule_with_warmup(
            optimizer, int(self.hparams.warmup * steps), steps
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class Sentences(Dataset[tuple[list[int], int]]):
    """Sentences of random words, each with its label."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.words = torch.randint(1, WORDS, (count, LENGTH), generator=generator)
        self.lengths = torch.randint(LENGTH // 2, LENGTH + 1, (count,), generator=generator)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> tuple[list[int], int]:
        words = self.words[index, : self.lengths[index]].tolist()
        pleased = sum((1 <= word <= 5) - (6 <= word <= 10) for word in words)
        return words, int(pleased > 0)


def padded(examples: list[tuple[list[int], int]]) -> BatchEncoding:
    """A batch as a tokenizer gives one."""
    longest = max(len(words) for words, _ in examples)
    ids = torch.tensor([words + [0] * (longest - len(words)) for words, _ in examples])
    labels = torch.tensor([label for _, label in examples])
    return BatchEncoding({"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels})


class SentenceData(L.LightningDataModule):
    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(Sentences(640, seed=1), shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(Sentences(160, seed=2))

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(Sentences(160, seed=3))

    def _loader(self, sentences: Sentences, shuffle: bool = False) -> DataLoader[Any]:
        batch_size = self.hparams.batch_size
        return DataLoader(sentences, batch_size, shuffle=shuffle, collate_fn=padded)
