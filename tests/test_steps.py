"""Steps without Lightning's detours: whoever looks sees the calls that Lightning makes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from caviar.training.quiet import quiet
from caviar.training.steps import CALLED, DirectSteps

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*training_step.* returned .*None"),
]

BATCHES = 5


class Model(pl.LightningModule):
    """Says by the step and by the epoch what it does; `told` is what was called, in order."""

    def __init__(self, schedule: str = "step") -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3))
        self.schedule = schedule
        self.told: list[str] = []

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.told.append(f"training_step {batch_idx}")
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return {"loss": loss, "more": loss.detach() + batch_idx}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val/loss", F.cross_entropy(self.net(x), y))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
        return [optimizer], [{"scheduler": schedule, "interval": self.schedule}]


def _hook(name: str) -> Any:
    def hook(self: Any, *args: Any) -> None:
        module = args[1] if isinstance(self, pl.Callback) else self
        seen = [a.get("more") if isinstance(a, dict) else type(a).__name__ for a in args[-3:]]
        grads = [p.grad is None or p.grad.norm().item() for p in module.parameters()]
        module.told.append(f"{type(self).__name__}.{name} {seen} {grads}")
        module.log(f"{type(self).__name__}/{name}", float(len(module.told)), on_step=True)

    return hook


class Hooked(Model):
    pass


class Watching(pl.Callback):
    pass


for name in CALLED:
    setattr(Watching, name, _hook(name))
    if name != "on_train_batch_start":  # a module's own may end the epoch
        setattr(Hooked, name, _hook(name))


class Normed(Model):
    def __init__(self, schedule: str = "step") -> None:
        super().__init__(schedule)
        self.net.insert(1, nn.BatchNorm1d(8))


class Clipping(Model):
    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        self.told.append(f"clip {kwargs}")
        super().configure_gradient_clipping(*args, **kwargs)


class Skipping(Model):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return None if batch_idx == 1 else super().training_step(batch, batch_idx)


class Lbfgs(Model):
    """Its optimizer takes several looks at a step."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), 0.1, max_iter=3)


class Unnumbered(Model):
    def training_step(self, batch: Any) -> Any:  # type: ignore[override]
        return super().training_step(batch, 0)


class Direct(DirectSteps):
    """Knows for how many epochs steps were direct."""

    epochs = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self.epochs += "advance" in vars(trainer.fit_loop.epoch_loop)


def _fit(
    model: Model, direct: bool, more: Sequence[Any] = (), **trainer: Any
) -> tuple[pl.Trainer, int]:
    quiet()
    pl.seed_everything(1, verbose=False)
    for part in model.net.modules():
        if isinstance(part, nn.Linear):
            part.reset_parameters()
    x, y = torch.randn(BATCHES * 8, 4), torch.randint(3, (BATCHES * 8,))
    loader = DataLoader(TensorDataset(x, y), 8)
    watch = Direct() if direct else pl.Callback()
    fitted = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[watch, Watching(), *map(copy.deepcopy, more)],
        log_every_n_steps=2,
        **trainer,
    )
    fitted.fit(model, loader, loader)
    return fitted, getattr(watch, "epochs", 0)


def _same(kind: type[Model], expected: int, **given: Any) -> None:
    schedule = given.pop("schedule", "step")
    (one, direct), (other, _) = (_fit(kind(schedule), d, **given) for d in (True, False))
    assert direct == expected
    ours, theirs = one.lightning_module, other.lightning_module
    assert isinstance(ours, Model)
    assert isinstance(theirs, Model)
    assert ours.told == theirs.told
    assert len([t for t in ours.told if "training_step" in t]) >= 9
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert one.callback_metrics.keys() == other.callback_metrics.keys()
    for name, value in other.callback_metrics.items():
        assert torch.equal(one.callback_metrics[name], value), name
    connectors = [t._checkpoint_connector for t in (one, other)]
    states = [c._get_loops_state_dict() for c in connectors]  # type: ignore[attr-defined]
    assert states[0] == states[1]
    assert one.global_step == other.global_step
    own: Any = [t.optimizers[0].state_dict()["param_groups"] for t in (one, other)]
    assert own[0] == own[1]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Model, {}),
        (Model, {"schedule": "epoch"}),
        (Model, {"precision": "64-true"}),
        (Model, {"precision": "bf16-mixed"}),
        (Model, {"gradient_clip_val": 0.01}),
        (Model, {"val_check_interval": 2}),
        (Model, {"limit_train_batches": 3, "check_val_every_n_epoch": 2}),
        (Hooked, {}),
        (Clipping, {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}),
        (Skipping, {}),
        (Lbfgs, {}),
        (Unnumbered, {}),
    ],
)
def test_whoever_looks_sees_lightnings_own_calls(kind: type[Model], given: dict[str, Any]) -> None:
    _same(kind, 3, **given)


class Backward(Model):
    def backward(self, loss: Tensor, *args: Any) -> None:
        (2 * loss).backward()


class Stepping(Model):
    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any) -> None:
        optimizer.step(closure)


class Transferring(Model):
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        return 2 * x, y


class Leaving(Model):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == BATCHES - 1 else None


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Backward, {}),
        (Stepping, {}),
        (Transferring, {}),
        (Leaving, {}),
        (Model, {"profiler": "simple"}),
    ],
)
def test_what_does_more_in_a_step_keeps_lightnings_loop(
    kind: type[Model], given: dict[str, Any]
) -> None:
    _same(kind, 0, **given)


def test_accumulated_gradients_are_lightnings() -> None:
    _same(Model, 3, accumulate_grad_batches=2)


def test_averaged_weights_are_those_of_lightning() -> None:
    """Its last epoch takes steps without a backward."""
    averaging = pl.callbacks.StochasticWeightAveraging(0.01, swa_epoch_start=1)
    _same(Normed, 4, schedule="epoch", more=[averaging])


def test_the_loop_is_lightnings_again_when_the_run_has_ended() -> None:
    trainer, epochs = _fit(Model(), True)
    assert epochs == 3
    assert "advance" not in vars(trainer.fit_loop.epoch_loop)
