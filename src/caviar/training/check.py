"""What a search will be able to do with a model, found out in seconds: two batches of everything.

    python train.py check=true experiment=mine

Each line of the table was tried, in a folder of its own, and none was concluded from the code.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from caviar.base import project
from caviar.base.environment import without_ranks
from caviar.base.errors import UserError, one_line
from caviar.base.files import last_line
from caviar.base.result import DIVERGED, PRUNED, Result
from caviar.config.reading import unread
from caviar.space import Space
from caviar.training.callbacks import BestMetric
from caviar.training.checkpoints import read_checkpoint
from caviar.training.package import is_inherited
from caviar.training.reading import reads_declared
from caviar.training.rehearsal import RefuseLate, shortened
from caviar.training.run import train

LAST = Path("checkpoints") / "last.ckpt"
PATIENCE = 120  # seconds for two processes on the CPU


@dataclass(frozen=True)
class Line:
    """One thing that a search may want to do."""

    what: str
    works: bool
    detail: str


@dataclass
class Check:
    """The lines so far, and what they are found out with.

    Arguments:
        config: of the run that is to come.
        output: the run's folder; each trial of something has one below it.
        overrides: of the command line, for a process of its own.
        live_keys: which config keys can be changed in a training that has begun; None if nobody
            can tell.
    """

    config: DictConfig
    output: Path
    overrides: list[str]
    live_keys: Callable[[pl.Trainer, DictConfig], list[str] | None] = lambda *_: None
    lines: list[Line] = field(default_factory=list)
    notes: io.StringIO = field(default_factory=io.StringIO)
    model: pl.LightningModule | None = None
    has_test: bool = False
    nudged: list[str] | None = None

    def run(self) -> list[Line]:
        """Try everything.

        Raises:
            UserError: it does not even train, and what to mend.
            Exception: of the model's or the data's own.
        """
        with redirect_stderr(self.notes):  # each run would say the same
            whole = self._trained("whole", epochs=2, extend=self._first)
            self._say_what_it_logs(whole)
            if self.nudged is not None:
                keys = ", ".join(self.nudged)
                self.lines.append(Line("nudge it live", bool(keys), keys or "nothing"))
            self._try("resume exactly", self._resume)
            self._try("prune a trial", lambda: self._status(PRUNED, report=lambda *_: True))
            self._try("know a diverged trial", lambda: self._status(DIVERGED, extend=self._spoiled))
            self._try("open the test set", lambda: self._test(whole))
            self._try("train on several devices", self._devices)
        return self.lines

    def _try(self, what: str, action: Callable[[], str]) -> None:
        try:
            self.lines.append(Line(what, True, action()))
        except Exception as error:  # whatever the model's own code raises is what is asked for
            detail = str(error) if isinstance(error, UserError) else one_line(error)
            self.lines.append(Line(what, False, detail))

    def _trained(self, folder: str, epochs: int = 1, **how: Any) -> Result:
        place = self.output / "check" / folder
        place.mkdir(parents=True, exist_ok=True)
        short = shortened(self.config, place, epochs)
        short.test = False
        return train(short, place, **how)

    def _first(self, best: BestMetric) -> tuple[list[pl.Callback], list[Any]]:
        return [RefuseLate(self.config), _Look(self)], []

    def _say_what_it_logs(self, whole: Result) -> None:
        assert self.model is not None
        metric = self.config.metric.name
        self.lines.append(Line("follow the metric", True, f"{metric} {whole.last:.4g}"))
        own = not reads_declared(self.model)
        declared = "its own" if own else "the config's"
        if own and (lost := unread(self.config, _axes(self.config), False)):
            detail = f"{declared} optimizer; nothing reads {', '.join(lost)} of the space"
            self.lines.append(Line("search the space", False, detail))
        else:
            self.lines.append(Line("search the space", True, f"{declared} optimizer"))
        kept = self.notes.getvalue().partition("note: ")[2].partition("\n")[0]
        self.lines.append(
            Line("keep checkpoints", whole.checkpoint is not None, kept or "they load safely")
        )

    def _resume(self) -> str:
        # Stopped, and not shorter: a schedule is as long as the training.
        self._trained("begun", epochs=2, report=lambda *_: True)
        begun = self.output / "check" / "begun" / LAST
        if not begun.exists():
            raise UserError("there is no last.ckpt to go on from; write callbacks=default")
        resumed = self._trained("resumed", epochs=2, resume=begun)
        folders = (self.output / "check" / name / LAST for name in ("whole", "resumed"))
        weights = [read_checkpoint(f, self.config.trust_checkpoints)["state_dict"] for f in folders]
        unlike = [k for k, v in weights[0].items() if not torch.equal(v, weights[1][k])]
        if unlike:
            raise UserError(f"{len(unlike)} of {len(weights[0])} tensors end with other values")
        return f"{resumed.resume}; tried from the end of an epoch"

    def _status(self, wanted: str, **how: Any) -> str:
        result = self._trained(wanted, **how)
        if result.status != wanted:
            raise UserError(f"the run ended as {result.status}")
        return "after a validation"

    def _spoiled(self, best: BestMetric) -> tuple[list[pl.Callback], list[Any]]:
        return [_Spoil()], []

    def _test(self, whole: Result) -> str:
        if not self.has_test:
            raise UserError("it has no test_step, and confirm needs one")
        if whole.checkpoint is None:
            raise UserError("no checkpoint of the best epoch is kept")
        place = self.output / "check" / "test"
        place.mkdir(parents=True, exist_ok=True)
        short = shortened(self.config, place)
        short.fit, short.ckpt_path = False, whole.checkpoint
        logged = train(short, place).metrics
        if not logged:
            raise UserError("test_step logs nothing")
        return ", ".join(sorted(logged))

    def _devices(self) -> str:
        place = self.output / "check" / "devices"
        limits = [f"++trainer.limit_{split}_batches=2" for split in ("train", "val")]
        # Else a run that counts steps would end before its first validation.
        limits += ["++trainer.max_steps=-1", "++trainer.val_check_interval=1.0"]
        limits += ["++trainer.check_val_every_n_epoch=1"]
        alone = ["check=false", "trainer=ddp_cpu", "trainer.max_epochs=1", "logger=none"]
        here = f"hydra.run.dir='{place}'"
        entry = str(project.enter() / "train.py")
        command = [sys.executable, entry, *self.overrides, *alone, *limits, here]
        place.mkdir(parents=True, exist_ok=True)
        with open(place / "output.txt", "wb") as file:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=without_ranks(),
                timeout=PATIENCE,
                check=False,
            )
        if ended.returncode:
            raise UserError(last_line(place / "output.txt"))
        return "data parallel, tried with two processes on the CPU"


class _Look(pl.Callback):
    """Keeps the model, once it has its optimizers."""

    def __init__(self, check: Check) -> None:
        self.check = check

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.check.model = pl_module
        self.check.has_test = not is_inherited(pl_module, "test_step")
        self.check.nudged = self.check.live_keys(trainer, self.check.config)


class _Spoil(pl.Callback):
    """Makes a training diverge at its first step."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        with torch.no_grad():
            for parameter in pl_module.parameters():
                parameter.fill_(float("nan"))


def _axes(config: DictConfig) -> list[str]:
    """The keys that the declared space searches."""
    tree: Any = OmegaConf.to_container(config.space, resolve=True)
    return [axis.key for axis in Space.parse(tree)]
