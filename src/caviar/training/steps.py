"""Take a training step without Lightning's detours, where nobody would see the difference.

Lightning surrounds a step with some forty calls of hooks that most runs leave empty, which cost a
small model three times what its arithmetic does. Here the loop's `advance` is replaced for a run on
one device: the same calls in the same order, without those that would do nothing. Everything around
a step is still Lightning's own: epochs, validation, checkpoints, loggers, counters, resume.

A run that does something of its own inside of a step which is not known here (its own `backward`, a
precision plugin with a scaler, accumulated gradients, a profiler, …) keeps Lightning's loop.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from caviar.training.package import is_inherited

# Methods of a module, or of a data module, in whose place nothing is done here.
NOT_CALLED = (
    "on_train_batch_start",  # which may end the epoch
    "backward",
    "optimizer_step",
    "optimizer_zero_grad",
    "transfer_batch_to_device",
    "on_before_batch_transfer",
    "on_after_batch_transfer",
)
OF_DATA = NOT_CALLED[-3:]
# Hooks that are called where a module, or a callback, has one of its own.
CALLED = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
# What a precision plugin does around a step, and the files of Lightning that do it in no other way.
OF_PRECISION = ("optimizer_step", "backward", "pre_backward", "post_backward", "_after_closure")
PLAIN = (".precision.precision", ".precision.amp")


class DirectSteps(pl.Callback):
    """Replaces the inside of the training loop, for as long as the run allows it."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Anew each epoch: a callback, or one's own code, may have changed what there is to call.
        self._leave(trainer)
        if steps_are_plain(trainer, pl_module):
            vars(trainer.fit_loop.epoch_loop)["advance"] = _Steps(trainer, pl_module).advance

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._leave(trainer)

    def _leave(self, trainer: pl.Trainer) -> None:
        vars(trainer.fit_loop.epoch_loop).pop("advance", None)


def steps_are_plain(trainer: Any, module: pl.LightningModule) -> bool:
    """Whether nothing happens inside of a run's steps but what `_Steps` does."""
    plugin, strategy, data = trainer.precision_plugin, trainer.strategy, trainer.datamodule
    return (
        type(strategy).__module__.endswith(".strategies.single_device")
        and type(strategy).__name__ == "SingleDeviceStrategy"
        and all(getattr(type(plugin), n).__module__.endswith(PLAIN) for n in OF_PRECISION)
        and getattr(plugin, "scaler", None) is None
        and type(trainer.profiler).__name__ == "PassThroughProfiler"
        and type(trainer.fit_loop._data_fetcher).__name__ == "_PrefetchDataFetcher"
        and module.automatic_optimization
        and len(trainer.optimizers) == 1
        and all(is_inherited(module, name) for name in NOT_CALLED)
        and (data is None or all(is_inherited(data, name) for name in OF_DATA))
    )


class _Steps:
    """`advance` of the training loop.

    Arguments:
        trainer: that fits.
        module: its model.
    """

    def __init__(self, trainer: Any, module: pl.LightningModule) -> None:
        self.trainer, self.module = trainer, module
        self.loop = trainer.fit_loop.epoch_loop
        self.usual: Callable[[Any], None] = self.loop.advance
        self.precision, self.optimizer = trainer.precision_plugin, trainer.optimizers[0]
        self.connector = trainer._logger_connector
        self.at_home = trainer.strategy.root_device.type == "cpu"
        self.by_step = any(c.interval == "step" for c in trainer.lr_scheduler_configs)
        clips = trainer.gradient_clip_val or not is_inherited(module, "configure_gradient_clipping")
        self.clips = bool(clips)
        arguments = self.loop._build_kwargs({}, None, 0)
        self.numbered = len(arguments) > 1
        self.hooks = {name: self._hooks(name) for name in CALLED}

    def _hooks(self, name: str) -> list[Callable[..., Any]]:
        """Who has a hook of his own, in the order in which Lightning calls them."""
        trainer, module = self.trainer, self.module

        def bound(callback: Any) -> Callable[..., Any]:
            method = getattr(callback, name)
            return lambda *args: method(trainer, module, *args)

        own = [bound(c) for c in trainer.callbacks if not is_inherited(c, name)]
        if not is_inherited(module, name):
            own.append(getattr(module, name))
        return own

    def _call(self, name: str, *args: Any) -> None:
        hooks = self.hooks[name]
        if not hooks:
            return
        before, self.module._current_fx_name = self.module._current_fx_name, name
        for hook in hooks:
            hook(*args)
        self.module._current_fx_name = before

    def advance(self, fetcher: Any) -> None:
        """One batch; Lightning's own where a run goes on inside of an epoch, or accumulates."""
        loop, trainer = self.loop, self.trainer
        # The last is what StochasticWeightAveraging sets for an epoch that only counts statistics.
        accumulates = trainer.accumulate_grad_batches != 1
        if loop.restarting or accumulates or loop.automatic_optimization._skip_backward:
            return self.usual(fetcher)
        loop.val_loop.restarting = False
        batch, _, _ = next(fetcher)
        number, progress = loop.batch_idx + 1, loop.batch_progress
        progress.is_last_batch = fetcher.done
        batch = self.precision.convert_input(batch)
        if not (self.at_home and _is_at_home(batch)):
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
        progress.increment_ready()
        self.connector.on_batch_start(batch)
        if batch is None:
            return self._skipped(batch, number)
        self._call("on_train_batch_start", batch, number)
        progress.increment_started()
        output = self._step((batch, number) if self.numbered else (batch,))
        progress.increment_processed()
        if self.by_step:
            loop.update_lr_schedulers("step", update_plateau_schedulers=False)
        if loop._num_ready_batches_reached():
            loop.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self._call("on_train_batch_end", output, batch, number)
        self._log()
        progress.increment_completed()
        return None

    def _step(self, arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Forward, backward and the optimizer's step; what `on_train_batch_end` is given."""
        module, optimizer, progress = self.module, self.optimizer, self.loop.automatic_optimization
        progress = progress.optim_progress.optimizer
        steps, zeroed = progress.step, progress.zero_grad
        output: dict[str, Any] = {}

        def closure() -> Tensor | None:
            before, module._current_fx_name = module._current_fx_name, "training_step"
            with self.precision.train_step_context():
                returned = module.training_step(*arguments)
            module._current_fx_name = before
            loss = _loss(returned, output)
            zeroed.increment_ready()
            self._call("on_before_zero_grad", optimizer)
            zeroed.increment_started()
            self._zero_grad()
            zeroed.increment_completed()
            if loss is not None:
                self._call("on_before_backward", loss)
                loss.backward()
                self._call("on_after_backward")
            self._call("on_before_optimizer_step", optimizer)
            if self.clips:
                module.configure_gradient_clipping(
                    optimizer,
                    gradient_clip_val=self.trainer.gradient_clip_val,
                    gradient_clip_algorithm=self.trainer.gradient_clip_algorithm,
                )
            return output.get("loss")

        steps.increment_ready()
        optimizer.step(torch.enable_grad()(closure))
        steps.increment_completed()
        return output

    def _zero_grad(self) -> None:
        """As the optimizer does it, whose own call costs as much as a layer."""
        if type(self.optimizer).zero_grad is not Optimizer.zero_grad:
            self.optimizer.zero_grad()
            return
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _skipped(self, batch: Any, number: int) -> None:
        """A loader gave nothing, which Lightning passes over."""
        self.loop.batch_progress.increment_processed()
        self._call("on_train_batch_end", {}, batch, number)
        self._log()
        self.loop.batch_progress.increment_completed()

    def _log(self) -> None:
        """Let loggers and the bar know of what is logged by the step, if anything is."""
        results = self.trainer._results
        if any(result.meta.on_step for result in results.values()):
            self.connector.on_batch_end()
            self.connector.update_train_step_metrics()
        else:
            results.batch = results.batch_size = None


def _loss(returned: Any, output: dict[str, Any]) -> Tensor | None:
    """The loss that a step returned; into `output` goes what a hook may see of it."""
    if isinstance(returned, Mapping):
        loss = returned.get("loss")
        if loss is None:
            raise ValueError("training_step returned a dict without a loss")
        output |= returned
    elif isinstance(returned, Tensor):
        loss = returned
    elif returned is None:
        warnings.warn("training_step returned None: nothing is learned of this batch", stacklevel=2)
        return None
    else:
        raise TypeError("training_step must return a tensor, a dict or None")
    output["loss"] = loss.detach().clone()
    return loss


def _is_at_home(batch: Any) -> bool:
    """Whether a batch is nothing but tensors on the CPU."""
    leaves = batch if type(batch) in (tuple, list) else (batch,)
    return all(type(leaf) is Tensor and leaf.device.type == "cpu" for leaf in leaves)
