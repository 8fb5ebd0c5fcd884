"""Train many runs as few stacks, one a shape, and leave of each what it leaves when it is alone."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger

from caviar.base.errors import fault_of, interrupts_told
from caviar.base.result import COMPLETE, DIVERGED, OUT_OF_MEMORY, PRUNED, Length, Result
from caviar.base.signals import handlers_kept
from caviar.config.compose import build
from caviar.stacked.begun import joined
from caviar.stacked.errors import Differs, NotStackable, OutOfMemory
from caviar.stacked.keep import Keep, Store
from caviar.stacked.loaders import StackedData
from caviar.stacked.members import Member
from caviar.stacked.module import stacked_module
from caviar.stacked.plan import stored
from caviar.stacked.stand_in import value_at
from caviar.stacked.widths import NOT_FILLED
from caviar.training.building import model_package
from caviar.training.checkpoints import plainly
from caviar.training.package import adopted, is_a, of_package
from caviar.training.quiet import quiet
from caviar.training.resume import FROM_AN_EPOCH, ResumedSchedule
from caviar.training.steps import DirectSteps

FEWEST = 2  # members of a stack: one alone is faster by itself
# (member, number of the point, metric, length of the training) of all; those to be stopped
ReportAll = Callable[[Sequence[tuple[Member, int, float, Length]]], Sequence[Member]]


@dataclass(frozen=True)
class Left:
    """A run that no stack can take, and why not, as the end of a sentence."""

    place: int
    why: str


class Watch(pl.Callback):
    """Follows every member's metric, as `BestMetric` does alone, and lets members go.

    Arguments:
        report: called with the points of all members, after each validation.
    """

    def __init__(self, report: ReportAll | None) -> None:
        self.report = report
        self._points: list[tuple[Member, int, float, Length]] = []

    def follow(self, member: Member) -> None:
        """Let a member's points come here, to be reported together."""

        def note(point: int, value: float, length: Length) -> bool:
            self._points.append((member, point, value, length))
            return False

        member.best.report = note

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for member, proxy in zip(pl_module.members, pl_module.proxies, strict=True):
            member.best.on_train_start(proxy, member.model)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for member, proxy in zip(pl_module.members, pl_module.proxies, strict=True):
            member.best.on_validation_end(proxy, member.model)
        points, self._points = self._points, []
        if not points or self.report is None:
            return
        for member in self.report(points):
            if not member.best.diverged:
                member.best.pruned = member.should_stop = True


def train_all(
    numbers: Sequence[int],
    member: Callable[[int], Member],
    config: DictConfig,
    ended: Callable[[Sequence[Member]], None],
    report: ReportAll | None = None,
    max_stack: int = 64,
    stores: Path | None = None,
) -> list[Left]:
    """Train runs whose configs differ in numbers alone, those of one shape together.

    Arguments:
        numbers: of the runs.
        member: builds one of them by its place among these, anew at each call.
        config: of one of them, for what all share: trainer, callbacks, loggers.
        ended: called with members when they have ended, each with its `result`.
        report: called with the points of all members of a stack, after each validation.
        max_stack: members of a stack, at most.
        stores: a folder for what a stack goes on from after a kill; None to keep nothing.

    Returns:
        Those that have to be trained one by one, with reasons.
    """
    quiet()
    torch.set_num_threads(config.threads)
    resumed = {} if stores is None else stored(stores, numbers)
    groups: dict[Any, list[int]] = defaultdict(list)
    ready: dict[int, Member] = {}  # built, and not yet tried
    for place in {*range(len(numbers))}.difference(*resumed.values()):
        ready[place] = member(place)
        groups[ready[place].build()].append(place)
    left: list[Left] = []
    for places in groups.values():  # those of one size beside each other
        places.sort(key=lambda place: ready[place].size, reverse=True)
    chunks = (range(0, len(places), max_stack) for places in groups.values())
    queue = [
        (places[begin : begin + max_stack], None, "no other trial has a model of its build")
        for places, begins in zip(groups.values(), chunks, strict=True)
        for begin in begins
    ]
    todo: list[tuple[list[int], Path | None, str]] = [
        *((p, f, "") for f, p in resumed.items()),
        *queue,
    ]
    while todo:
        places, file, why = todo.pop(0)
        if file is None and len(places) < FEWEST:
            left += [Left(place, why) for place in places]
            continue
        members = [ready.pop(p) if p in ready else member(p) for p in places]
        store = None
        if stores is not None:
            store = Store(file or stores / f"{min(m.number for m in members)}.ckpt")
        shapes: dict[Any, list[int]] = defaultdict(list)
        for place, one in zip(places, members, strict=True):
            shapes[one.shape()].append(place)
        try:
            _train(members, config, ended, report, store, file)
        except (Differs, NotStackable) as refusal:
            if len(shapes) > 1:
                said = NOT_FILLED if isinstance(refusal, Differs) else str(refusal)
                todo += [(same, None, said) for same in shapes.values()]
                continue
            if isinstance(refusal, NotStackable):
                left += [Left(place, str(refusal)) for place in places]
                continue
            differs = refusal
            alike: dict[str, list[int]] = defaultdict(list)
            for place, one in zip(places, members, strict=True):
                alike[value_at(one.model, differs.where)].append(place)
            alone = f"a step reads {differs.where}, of which no other trial has the same"
            todo += [(same, None, alone) for same in alike.values()]
        except OutOfMemory:
            half = len(places) // 2
            todo += [(places[:half], None, why), (places[half:], None, why)]
    return left


def _train(
    members: Sequence[Member],
    config: DictConfig,
    ended: Callable[[Sequence[Member]], None],
    report: ReportAll | None,
    store: Store | None,
    resume: Path | None,
) -> None:
    """Train one stack, from the file on that an earlier process has left."""
    begun = time.perf_counter()
    package = model_package(config, members[0].model)

    def finished(over: Sequence[Member]) -> None:
        seconds = (time.perf_counter() - begun) / len(members)
        for member in over:
            member.result = _result(member, round(seconds, 3))
            _write_rows(member, config)
        ended(over)

    watch, keep = Watch(report), Keep(config, package, finished, store)
    for member in members:
        watch.follow(member)
        member.stoppers = [adopted(copy.deepcopy(s), package) for s in keep.stoppers]
    trainer: pl.Trainer = build(
        "trainer",
        of_package(config.trainer, package),
        callbacks=[
            adopted(callback, package)
            for callback in (ResumedSchedule(), DirectSteps(), watch, keep)
        ],
        logger=False,
        enable_progress_bar=False,
    )
    data = adopted(StackedData(members, lambda: module.members, True), package)
    data.ready(trainer, config)
    module = stacked_module(members, trainer, package)
    whole = None
    if resume is None and members[0].begun is not None:
        folder = Path(members[0].output)
        resume = whole = folder / "stack.ckpt"
        torch.save(joined(members), whole)
    try:
        with handlers_kept(), interrupts_told():
            plain = plainly(trainer.fit, resume, trusted=False)
            trainer.fit(module, datamodule=data, ckpt_path=resume, **plain)
    except (Differs, NotStackable, OutOfMemory):
        raise
    except Exception as error:
        if fault_of(error) == OUT_OF_MEMORY:
            raise OutOfMemory from error
        # Perhaps a slip of the model's, which the run alone will tell as its own.
        words = " ".join(str(error).split())[:160]
        raise NotStackable(f"together they end with {type(error).__name__}: {words}") from error
    finally:
        if whole is not None:
            whole.unlink(missing_ok=True)
    keep.finish(module)


def _result(member: Member, seconds: float) -> Result:
    """As `caviar.training.run.train` fills it in."""
    best = member.best
    result = Result(seed=member.seed, seconds=seconds, resume=FROM_AN_EPOCH)
    result.num_params = sum(p.numel() for p in member.model.parameters() if p.requires_grad)
    result.best, result.best_epoch, result.last = best.best, best.best_epoch, best.last
    result.best_step, result.unit = best.best_step, best.length.unit
    result.epochs, result.steps = member.epochs, member.steps
    diverged = best.diverged or best.best is None
    result.status = DIVERGED if diverged else PRUNED if best.pruned else COMPLETE
    result.metrics = member.metrics
    result.checkpoint = None if member.checkpoint is None else str(member.checkpoint)
    return result


def _write_rows(member: Member, config: DictConfig) -> None:
    """Its metrics.csv, if the config asks for one."""
    for logger in (config.logger or {}).values():
        if logger is not None and is_a(_target(logger), "CSVLogger"):
            writer = CSVLogger(str(member.output), name="", version="")
            writer.experiment.metrics = [*member.rows]
            writer.save()


def _target(config: Any) -> Any:
    from hydra.utils import get_class

    return get_class(config._target_)
