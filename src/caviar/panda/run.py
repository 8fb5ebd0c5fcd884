"""One process of a panda: from where the journal says it is, until it is stopped, goes back or is
done.

Going back begins a new process in the place of this one. So whatever a run was before, it goes on
as one that was stopped and started again, which is exact.
"""

from __future__ import annotations

import functools
import os
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NoReturn

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
from caviar.base.result import Ended, Result
from caviar.base.terminal import complain
from caviar.config.commands import caviar_command, set_to, sources_of
from caviar.config.keys import Keys, is_task, metric_of, trusts
from caviar.config.messages import SLIPS
from caviar.config.overrides import override_key, restore_one_minus
from caviar.panda.actions import Rollback
from caviar.panda.callback import STATE, PandaCallback
from caviar.panda.inbox import Inbox, hand_on, handed_on, running
from caviar.panda.journal import (
    DIVERGED,
    EVENTS,
    FINISH,
    LAST,
    NOTE,
    READABLE,
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
from caviar.panda.levers import CONFIG, plain_nodes
from caviar.panda.record import append_row, keep_until
from caviar.screen.view import console, print_result, shown_path
from caviar.training import train
from caviar.training.callbacks import BestMetric
from caviar.training.checkpoints import missing_row, read_checkpoint

Trains = Callable[..., Result]  # (config, folder, resume=, extend=, ended=), as `train` takes them

# How a process left that has not failed, in the words of `run_state`.
RUNNING, STOPPED = "running", "stopped"


def drive(
    config: DictConfig, folder: Path, ended: Ended | None = None, trains: Trains = train
) -> float | None:
    """Train until it is done, stopped, or goes back; the best value.

    Arguments:
        config: composed; what the journal says is written into it.
        folder: of the study.
        ended: as `train` takes it.
        trains: in the place of the template's own training.

    Raises:
        UserError: a run of this study is there already, or its config cannot be.
        KeyboardInterrupt: it was stopped; what it learned is kept.
    """
    first = is_first_rank()
    settings, journal = PandaSettings.of(config), Journal(folder)
    asked_before = handed_on(folder) is not None
    with running(folder) if first else nullcontext() as lock:
        begins = first and not journal.exists()
        if begins:  # before the other ranks are started, which read it: it has the seed of all
            _write_start(config, journal)
        lineage = Lineage.of(journal.events())
        _put_in_force(config, folder, lineage)
        trusted = trusts(config)
        resume = resume_point(folder, lineage, trusted)
        if first:
            _write_config(config, folder)
            # Of requests to a process that died, for which nobody waits. To one in whose place
            # this one is they may still come.
            if not asked_before:
                Inbox(folder).clear()
            _clean_record(folder, lineage.branch, resume, trusted)
            watch = caviar_command("panda watch", folder.name)
            console.print(f"from another terminal: {watch}, or set, back, log")

        made: list[PandaCallback] = []

        def extend(best: BestMetric) -> tuple[list[pl.Callback], list[Any]]:
            callback = PandaCallback(folder, config, settings, best)
            made.append(callback)
            return [callback], [RecordLogger(folder, callback.at.branch)]

        try:
            told = None if ended is None else functools.partial(_tell, ended)
            result = trains(config, folder, resume=resume, extend=extend, ended=told)
        except Rollback:
            back = journal.events()[-1]
        except KeyboardInterrupt as interrupt:
            if first:
                journal.write(_at_last(journal, STOP, made))
                kind = type(interrupt)
                raise kind(f"{caviar_command('panda start', folder.name)} goes on") from None
            raise
        except SLIPS:
            if begins:
                _forget_start(journal)
            raise
        else:
            if not first:
                return result.best
            diverged = result.status == DIVERGED_RESULT
            journal.write(_at_last(journal, DIVERGED if diverged else FINISH, made))
            print_result(result, metric_of(config).name, folder)
            if diverged:
                days = Lineage.of(journal.events()).days()
                good = max((e.day for e in days), default=0)
                go_back = caviar_command("panda back", folder.name)
                console.print(f"it diverged; go back: {go_back} --to day{good}")
            return result.best
        if lock is not None:
            console.print(f"back to day {back.facts['to']}, as branch {back.branch}")
            _begin_again(folder, lock)
    sys.exit(0)


def _tell(ended: Ended, result: Result, curve: Mapping[int, float]) -> None:
    """Tell a tracker how this process left: one that goes back, or is stopped, has not failed."""
    error = sys.exception()
    if isinstance(error, KeyboardInterrupt):
        status = RUNNING if isinstance(error, Rollback) else STOPPED
        result = replace(result, status=status, error=None)
    ended(result, curve)


def _write_start(config: DictConfig, journal: Journal) -> None:
    """Write down what the run is begun with; a seed that nobody gave is drawn, once for all."""
    typed = restore_one_minus(HydraConfig.get().overrides.task)
    keys = Keys.of(config)
    own = ["panda.run", "search.study", keys.seed]
    own += [str(keys.test)] if is_task(config) else []
    overrides = [o for o in typed if override_key(o) not in own]
    seed = OmegaConf.select(config, keys.seed)
    seed = secrets.randbits(31) if seed is None else seed
    start = {"overrides": [*overrides, f"{keys.seed}={seed}"], "wandb": uuid.uuid4().hex[:8]}
    hydra: Any = HydraConfig.instance().cfg
    start["sources"] = list(sources_of(hydra))
    journal.write(event(START, 0, 0, 0, facts=start))


def _forget_start(journal: Journal) -> None:
    """Take back a beginning that nothing followed, when its config was refused.

    Else the journal would hold the slip for good: a run goes on as it was begun, so that the
    command without the slip would be refused.
    """
    nothing = all(e.kind in (START, NOTE) for e in journal.events())
    if nothing and not (journal.folder / LAST).exists():
        for name in (EVENTS, READABLE, CONFIG):
            (journal.folder / name).unlink(missing_ok=True)


def _put_in_force(config: DictConfig, folder: Path, lineage: Lineage) -> None:
    """Let the config be what the journal says, in every process and on every rank the same."""
    key = Keys.of(config).seed
    seeds = [o.partition("=")[2] for o in lineage.overrides if o.startswith(f"{key}=")]
    OmegaConf.update(config, key, int(seeds[-1]))
    for key, value in lineage.values.items():
        OmegaConf.update(config, key, value)
    # A folder for each branch: one that was left keeps its best model.
    best = str(day_checkpoint(folder, lineage.branch, 0).parent)
    for callback in _built(config.get("callbacks"), "BestCheckpoint"):
        callback.dirpath = best
    for wandb in _built(config.get("logger"), "WandbLogger"):  # one run, however often it stops
        with open_dict(wandb):
            wandb.id, wandb.resume = lineage.start["wandb"], "allow"


def _built(node: Any, kind: str) -> list[DictConfig]:
    """The nodes in a node of a config that a class of this name is built of."""
    inner = node.values() if OmegaConf.is_dict(node) and node else ()
    parts = [part for part in inner if OmegaConf.is_dict(part)]
    return [p for p in parts if str(p.get("_target_", "")).endswith(kind)]


def resume_point(folder: Path, lineage: Lineage, trusted: bool = False) -> Path | None:
    """The checkpoint that the present branch is furthest with; None for the first weights.

    Of the last two days, because a full disk or the machine's death may have cut off one; and the
    last epoch's, which may lie behind them. That one can be another branch's, of before going back.
    """
    own = [e for e in lineage.days() if e.branch == lineage.branch]
    steps: dict[Path, int] = {}
    days = [day_checkpoint(folder, e.branch, e.day) for e in own[-2:]]
    for path in (*reversed(days), folder / LAST):  # of two alike the first
        try:
            checkpoint = read_checkpoint(path, trusted)
        except UserError as error:
            if path.exists():
                complain(f"warning: {error}; an earlier one is taken")
            continue
        if checkpoint.get(STATE, {}).get("branch") == lineage.branch:
            steps[path] = checkpoint["global_step"]
    return max(steps, key=lambda path: steps[path]) if steps else origin_checkpoint(folder, lineage)


class _Plain(yaml.SafeDumper):
    """YAML that loads safely, whatever somebody's resolvers return."""


_Plain.add_multi_representer(object, lambda dumper, value: dumper.represent_str(str(value)))


def _write_config(config: DictConfig, folder: Path) -> None:
    """The parts that other terminals look up, resolved, so that they need no Hydra."""
    settings = OmegaConf.to_container(config.panda, resolve=True)
    plain = {**plain_nodes(config), "metric": metric_of(config)._asdict(), "panda": settings}
    with replaced(folder / CONFIG) as partial:
        text = yaml.dump(plain, Dumper=_Plain, sort_keys=False)
        partial.write_text(text, encoding="utf-8")


def _clean_record(folder: Path, branch: int, resume: Path | None, trusted: bool) -> None:
    """Take out what will be logged again, and put back what the checkpoint knows."""
    checkpoint = None if resume is None else read_checkpoint(resume, trusted)
    # Another branch's checkpoint: this one has logged nothing that is to stay.
    if checkpoint is None or checkpoint.get(STATE, {}).get("branch") != branch:
        keep_until(folder, branch, 0)
        return
    kept = keep_until(folder, branch, checkpoint["global_step"])
    # An epoch's training metrics are logged behind its checkpoint; a kill came between the two.
    row = missing_row(kept, checkpoint)
    if row is not None:
        append_row(folder, {"branch": branch, "time": kept[-1]["time"], **row})


def _at_last(journal: Journal, kind: str, made: Sequence[PandaCallback]) -> Event:
    """An event where the training has left off; at the last one's place if it had not begun."""
    last = [e for e in journal.events() if e.kind != NOTE][-1]
    step, epoch = (made and made[0].left_at()) or (last.step, last.epoch)
    return event(kind, last.branch, last.day, step, epoch=epoch)


def _begin_again(folder: Path, lock: IO[bytes]) -> NoReturn:
    """Become a new process of the same run, which is there all the time to whoever asks."""
    # A rank's own variables would make the new process a rank of a run that has ended.
    environment = without_ranks("HYDRA_FULL_ERROR") | hand_on(lock)
    code = "from caviar.cli import main; main()"
    start = ["panda", "start", set_to("search.study", folder.name)]
    console.print(f"it goes on in {shown_path(folder)}")
    sys.stdout.flush()
    # In the place of this process, not beside it: who waits for it, or sends it Ctrl-C, still can.
    os.execve(sys.executable, [sys.executable, "-c", code, *start], environment)


class RecordLogger(Logger):
    """Appends what Lightning logs to `metrics.jsonl`, with where the run is.

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
