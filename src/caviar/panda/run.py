"""One process of a panda: from where the journal says it is, until it is stopped, goes back or is
done.

Going back begins a new process in the place of this one. So whatever a run was before, it goes on
as one that was stopped and started again, which is exact.
"""

# MERGED panda.logger """A Lightning logger over `metrics.jsonl`."""
#

from __future__ import annotations

import os
import secrets
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from caviar.base.environment import is_first_rank, without_ranks
from caviar.base.errors import UserError
from caviar.base.files import replaced
from caviar.base.result import DIVERGED as DIVERGED_RESULT
from caviar.config.overrides import override_key, restore_one_minus
from caviar.panda.actions import Rollback
from caviar.panda.begin import CONFIG
from caviar.panda.callback import STATE, PandaCallback
from caviar.panda.inbox import Inbox, running
from caviar.panda.journal import (
    DIVERGED,
    FINISH,
    LAST,
    NOTE,
    START,
    STOP,
    Event,
    Journal,
    Lineage,
    day_checkpoint,
    event,
    origin_checkpoint,
)
from caviar.panda.keeper import PandaSettings
from caviar.panda.record import append_row, keep_until
from caviar.screen.view import console, print_result, shown_path
from caviar.training import train
from caviar.training.callbacks import BestMetric
from caviar.training.checkpoints import missing_row, read_checkpoint
from caviar.training.run import Ended

NODES = ("name", "metric", "optimizer", "scheduler", "model", "data", "trainer", "space", "panda")


def drive(config: DictConfig, folder: Path, ended: Ended | None = None) -> float | None:
    """Train until it is done, stopped, or goes back; the best value.

    Raises:
        UserError: a run of this study is there already, or its config cannot be.
        KeyboardInterrupt: it was stopped; what it learned is kept.
    """
    first = is_first_rank()
    settings, journal = PandaSettings.of(config), Journal(folder)
    with running(folder) if first else nullcontext():
        if first and not journal.exists():
            typed = restore_one_minus(HydraConfig.get().overrides.task)
            own = ("panda.run", "search.study", "seed")
            overrides = [o for o in typed if override_key(o) not in own]
            seed = secrets.randbits(31) if config.seed is None else config.seed
            facts = {"overrides": [*overrides, f"seed={seed}"], "wandb": uuid.uuid4().hex[:8]}
            journal.write(event(START, 0, 0, 0, facts=facts))
        lineage = Lineage.of(journal.events())
        # Of every process the same, whatever its command line was composed from meanwhile.
        known = [o.partition("=")[2] for o in lineage.overrides if o.startswith("seed=")]
        config.seed = int(known[-1])
        for key, value in lineage.values.items():
            OmegaConf.update(config, key, value)
        if first:
            _write_config(config, folder)
            Inbox(folder).clear()
        _one_best_a_branch(config, folder, lineage.branch)
        _one_wandb_run(config, lineage)
        resume = resume_point(folder, lineage)
        if first:
            _clean_record(folder, lineage.branch, resume)

        if first:
            named = f"search.study={folder.name}"
            console.print(f"from another terminal: caviar panda watch {named}, or set, back, log")

        def extend(best: BestMetric) -> tuple[list[pl.Callback], list[Any]]:
            callback = PandaCallback(folder, config, settings, best)
            return [callback], [RecordLogger(folder, callback.at.branch)]

        try:
            result = train(config, folder, resume=resume, extend=extend, ended=ended)
        except Rollback:
            back = journal.events()[-1]
        except KeyboardInterrupt as interrupt:
            if first:
                journal.write(_last(journal, STOP))
                kind = type(interrupt)
                raise kind(f"caviar panda start search.study={folder.name} goes on") from None
            raise
        else:
            if not first:
                return result.best
            diverged = result.status == DIVERGED_RESULT
            journal.write(_last(journal, DIVERGED if diverged else FINISH))
            print_result(result, config.metric.name, folder)
            if diverged:
                good = max((e.day for e in lineage_now(journal).days()), default=0)
                console.print(f"it diverged; go back: caviar panda back --to day{good}")
            return result.best
    if first:
        console.print(f"back to day {back.facts['to']}, as branch {back.branch}")
        _begin_again(folder)
    sys.exit(0)


def lineage_now(journal: Journal) -> Lineage:
    """What the journal adds up to now."""
    return Lineage.of(journal.events())


def resume_point(folder: Path, lineage: Lineage) -> Path | None:
    """The checkpoint that the present branch is furthest with; None for the first weights."""
    own = [e for e in lineage.days() if e.branch == lineage.branch]
    found: dict[Path, int] = {}
    days = [day_checkpoint(folder, e.branch, e.day) for e in own[-2:]]
    for path in (*reversed(days), folder / LAST):  # of two alike the first
        try:
            checkpoint = read_checkpoint(path)
        except UserError as error:
            if path.exists():  # cut off, when the disk was full or the machine died
                print(f"warning: {error}; an earlier one is taken", file=sys.stderr)
            continue
        if checkpoint.get(STATE, {}).get("branch") == lineage.branch:
            found[path] = checkpoint["global_step"]
    return max(found, key=lambda path: found[path]) if found else origin_checkpoint(folder, lineage)


def _clean_record(folder: Path, branch: int, resume: Path | None) -> None:
    """Take out what will be logged again, and put back what the checkpoint knows."""
    checkpoint = None if resume is None else read_checkpoint(resume)
    same = checkpoint is not None and checkpoint.get(STATE, {}).get("branch") == branch
    if checkpoint is None or not same:
        keep_until(folder, branch, 0)
        return
    kept = keep_until(folder, branch, checkpoint["global_step"])
    row = missing_row(kept, checkpoint)
    if row is not None:
        append_row(folder, {"branch": branch, "time": kept[-1]["time"], **row})


def _write_config(config: DictConfig, folder: Path) -> None:
    """The parts that other terminals look up, resolved."""
    folder.mkdir(parents=True, exist_ok=True)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    kept = {node: plain[node] for node in NODES}
    with replaced(folder / CONFIG) as partial:
        partial.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")


def _one_best_a_branch(config: DictConfig, folder: Path, branch: int) -> None:
    """A branch that was left keeps its best model."""
    for callback in (config.callbacks or {}).values():
        if str(callback.get("_target_", "")).endswith("BestCheckpoint"):
            callback.dirpath = str(day_checkpoint(folder, branch, 0).parent)


def _one_wandb_run(config: DictConfig, lineage: Lineage) -> None:
    """Let every process of this panda write into the same W&B run."""
    if config.logger and "wandb" in config.logger:
        with open_dict(config.logger.wandb):
            config.logger.wandb.id = lineage.facts["wandb"]
            config.logger.wandb.resume = "allow"


def _last(journal: Journal, kind: str) -> Event:
    """An event at the place of the last one."""
    events = [e for e in journal.events() if e.kind != NOTE]
    return event(kind, events[-1].branch, events[-1].day, events[-1].step, epoch=events[-1].epoch)


def _begin_again(folder: Path) -> NoReturn:
    """Become a new process of the same run."""
    environment = without_ranks("HYDRA_FULL_ERROR")
    code = "from caviar.cli import main; main()"
    start = ["panda", "start", f"search.study={folder.name}"]
    console.print(f"it goes on in {shown_path(folder)}")
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-c", code, *start], environment)


class RecordLogger(Logger):
    """Appends what Lightning logs, with where the run is.

    Arguments:
        folder: of the study.
        branch: that the run is on.
    """

    def __init__(self, folder: Path, branch: int) -> None:
        super().__init__()
        self.folder, self.branch = folder, branch

    @property
    def name(self) -> str:
        return "record"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """The config is in the folder already."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        where = {"branch": self.branch, "step": step, "time": round(time.time(), 3)}
        append_row(self.folder, {**where, **metrics})
