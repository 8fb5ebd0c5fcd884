"""What every member leaves: checkpoints of its best and its last epoch, as a run alone writes them.

The best weights stay in the stack, as one copy of it, and are written when their member ends: to
write them at every better epoch would take longer than to train.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from caviar.base.files import replaced
from caviar.stacked.errors import NotStackable
from caviar.stacked.members import Member
from caviar.training.building import declared
from caviar.training.callbacks import LOGGED
from caviar.training.gathered import gathered
from caviar.training.package import is_a
from caviar.training.resume import FROM_AN_EPOCH, KIND
from caviar.training.safe import checkpoint_plugin


class Keep(Checkpoint):
    """Keeps the best epoch of every member, and writes the checkpoints that its config asks for.

    Arguments:
        config: of one of the members; their callbacks are alike but for their folders.
        package: the Lightning of their models.
        ended: called with the members that have ended, once their checkpoints are written.
        store: where the stack's own checkpoint is written, to go on from after a kill; None for
            nowhere.

    Raises:
        NotStackable: a callback that is not one of these.
    """

    def __init__(
        self,
        config: DictConfig,
        package: str,
        ended: Callable[[Sequence[Member]], None],
        store: Store | None = None,
    ) -> None:
        self.ended, self.store = ended, store
        self.best: Any = None  # the callbacks of a run alone, for their names and what they keep
        self.last: Any = None
        self.stoppers: list[Any] = []  # of which each member has its own
        metric = config.metric.name
        for name, callback in declared(
            "callbacks", (config.callbacks or {}).items(), package
        ).items():
            if is_a(callback, "ModelCheckpoint") and callback.monitor == metric and not self.best:
                self.best = callback
            elif is_a(callback, "ModelCheckpoint") and callback.monitor is None and not self.last:
                self.last = callback
            elif is_a(callback, "EarlyStopping"):
                self.stoppers.append(callback)
            else:
                raise NotStackable(f"{name} is a callback that watches one model")
        kept = [callback for callback in (self.best, self.last) if callback is not None]
        # Where in a run's folder each is; they were built for that of one member.
        root = Path(config.paths.output)
        self.below = {id(c): Path(c.dirpath).relative_to(root) / f"{c.filename}.ckpt" for c in kept}
        self.plugin = checkpoint_plugin(package, config.trust_checkpoints)
        self._tensors: dict[str, Tensor] = {}  # of the best epochs, by name

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for member, proxy in self._pairs(pl_module):
            for stopper in member.stoppers:
                stopper.setup(proxy, member.model, "fit")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for member, proxy in self._pairs(pl_module):
            for stopper in member.stoppers:
                stopper.on_validation_end(proxy, member.model)

    @staticmethod
    def _pairs(module: Any) -> list[tuple[Member, Any]]:
        return [*zip(module.members, module.proxies, strict=True)]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for member, proxy in self._pairs(pl_module):
            member.epochs, member.steps = trainer.current_epoch + 1, trainer.global_step
            for stopper in member.stoppers:
                stopper.on_train_epoch_end(proxy, member.model)
        if self.best is not None or self.last is not None:
            self._note(trainer, pl_module)
        going = [i for i, member in enumerate(pl_module.members) if not member.should_stop]
        gone = [i for i, member in enumerate(pl_module.members) if member.should_stop]
        over = self._closed(pl_module, gone)
        if not going:
            pl_module.members = []
            trainer.should_stop = True
        elif gone:
            pl_module.keep(going)
            index = torch.tensor(going, device=pl_module.device)
            cut = {name: tensor[index] for name, tensor in self._tensors.items()}
            self._tensors = {name: pl_module.widths.fitted(name, t) for name, t in cut.items()}
        # The stack without them first: a kill between the two trains them once more, while one
        # that is finished in the ledger and still in the file could not be told from a running one.
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if self.store is not None and going and not last:
            self.store.save(trainer, pl_module.members, bool(gone))
        if over:
            self.ended(over)

    def finish(self, module: Any) -> None:
        """The training has ended: so have all that are left."""
        over = self._closed(module, range(len(module.members)))
        if over:
            self.ended(over)
        if self.store is not None:
            self.store.remove()

    def _closed(self, module: Any, places: Sequence[int]) -> list[Member]:
        """Members that have ended, with what they leave."""
        over = [module.members[place] for place in places]
        for member, proxy in zip(over, (module.proxies[i] for i in places), strict=True):
            member.best.on_train_end(proxy, member.model)
            member.metrics = member.best.known(proxy)
        self.write(module, places)
        return over

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint of the stack."""
        return {"tensors": self._tensors}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._tensors = state_dict["tensors"]

    def _note(self, trainer: Any, pl_module: Any) -> None:
        """Note what the checkpoints of this epoch hold."""
        loops = copy.deepcopy(trainer._checkpoint_connector._get_loops_state_dict())
        better = []
        for place, member in enumerate(pl_module.members):
            improved = member.best.best_epoch == trainer.current_epoch
            if self.last is not None or improved:
                frame = self._frame(trainer, pl_module, place, member, loops)
                member.kept["last"] = frame
                if improved and self.best is not None:
                    member.kept["best"] = frame
                    better.append(place)
        if better:
            self._copy(all_tensors(pl_module), torch.tensor(better, device=pl_module.device))

    @torch.no_grad()
    def _copy(self, tensors: Mapping[str, Tensor], better: Tensor) -> None:
        for name, tensor in tensors.items():
            if name not in self._tensors:
                self._tensors[name] = tensor.detach().clone()
            else:
                self._tensors[name][better] = tensor.detach()[better]

    def _frame(
        self, trainer: Any, module: Any, place: int, member: Member, loops: dict[str, Any]
    ) -> dict[str, Any]:
        """A member's checkpoint without its tensors, of this moment."""
        proxy = module.proxies[place]
        known = member.best.known(proxy)
        return {
            "epoch": trainer.current_epoch,
            "global_step": trainer.global_step,
            "pytorch-lightning_version": pl.__version__,
            "loops": loops,
            "callbacks": {
                callback.state_key: copy.deepcopy(callback.state_dict())
                for callback in (member.best, *member.stoppers)
            },
            "lr_schedulers": [c.scheduler.state_dict() for c in member.schedules],
            "groups": [
                {k: v for k, v in group.items() if k != "params"}
                for group in member.optimizer.param_groups
            ],
            "metrics": known,
            LOGGED: {name: float(v) for name, v in proxy.callback_metrics.items()},
            "gathered": gathered(proxy, module.loaded(place), inside=False),
            "generators": {},
            KIND: FROM_AN_EPOCH,
        }

    def write(self, module: Any, places: Sequence[int]) -> None:
        """Write the checkpoints of members that have ended.

        Arguments:
            module: the stack.
            places: theirs.
        """
        now = all_tensors(module)
        for place in places:
            member: Member = module.members[place]
            # Of one that goes on, that of its earlier epochs may stay.
            best = self._path(self.best, member) if "best" in member.kept else member.checkpoint
            for name, callback, tensors in (
                ("best", self.best, self._tensors),
                ("last", self.last, now),
            ):
                if callback is None or name not in member.kept:
                    continue
                path = self._path(callback, member)
                path.parent.mkdir(parents=True, exist_ok=True)
                whole = self._whole(member, member.kept[name], tensors, place, best, module)
                self.plugin.save_checkpoint(whole, path)
            member.checkpoint = best

    def _path(self, callback: Any, member: Member) -> Path:
        return member.output / self.below[id(callback)]

    def _whole(
        self,
        member: Member,
        frame: dict[str, Any],
        tensors: Mapping[str, Tensor],
        place: int,
        best: Path | None,
        module: Any,
    ) -> dict[str, Any]:
        frame = dict(frame)
        groups = frame.pop("groups")
        own = {name: module.widths.own(name, place, t).clone() for name, t in tensors.items()}
        whole = {**frame, "state_dict": {n: own[n] for n in member.model.state_dict() if n in own}}
        optimizer: Any = module.optimizers(use_pl_optimizer=False)
        state = optimizer.state_of(own, groups, frame["global_step"])
        whole["optimizer_states"] = [state]
        model, data = member.model, member.data
        for thing in (model, data):
            if thing is not None and thing.hparams:
                whole[thing.CHECKPOINT_HYPER_PARAMS_NAME] = thing._hparams_name
                whole[thing.CHECKPOINT_HYPER_PARAMS_KEY] = dict(thing.hparams)
        if data is not None and (state := data.state_dict()):
            whole[type(data).__qualname__] = state
        if self.best is not None and best is not None:
            self.best.dirpath, self.best.best_model_path = str(best.parent), str(best)
            self.best.best_model_score = torch.tensor(member.best.best)
            self.best.best_k_models = {str(best): self.best.best_model_score}
            self.best.kth_best_model_path = str(best)
            whole["callbacks"] |= {self.best.state_key: self.best.state_dict()}
        if self.last is not None:
            last = member.output / self.below[id(self.last)]
            self.last.dirpath, self.last.best_model_path = str(last.parent), str(last)
            whole["callbacks"] |= {self.last.state_key: self.last.state_dict()}
        model.on_save_checkpoint(whole)
        return whole


class Store:
    """The file that a stack goes on from after a kill, and beside it which members are in it.

    Arguments:
        path: of the file; the other one has the ending `.json`.
    """

    SHARE = 0.05  # of the time, at most, goes into writing

    def __init__(self, path: Path) -> None:
        self.path = path
        self._free = 0.0  # by time.monotonic(): when it may be written again

    def save(self, trainer: Any, members: Sequence[Member], changed: bool) -> None:
        """Write it, unless that was just done and the same members are in it."""
        begun = time.monotonic()
        if begun < self._free and not changed:
            return
        names = self.path.with_suffix(".json")
        if changed:  # which are in the file must never be said wrongly
            names.unlink(missing_ok=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(self.path) as partial:
            torch.save(trainer._checkpoint_connector.dump_checkpoint(weights_only=False), partial)
        with replaced(names) as partial:
            partial.write_text(json.dumps([m.number for m in members]) + "\n", encoding="utf-8")
        took = time.monotonic() - begun
        self._free = time.monotonic() + took / self.SHARE

    def remove(self) -> None:
        """All its members have ended."""
        self.path.with_suffix(".json").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def all_tensors(module: Any) -> dict[str, Tensor]:
    """Everything of a stack that is in a member's checkpoint, by name."""
    optimizer: Any = module.optimizers(use_pl_optimizer=False)
    tensors = {**module.parameters_of_all(), **module.buffers_of_all()}
    return {**tensors, **optimizer.tensors()}
