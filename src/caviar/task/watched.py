"""Every Trainer that runs inside of a task: its curve, whether it diverged, whether it is hopeless.

    with watching(metric, mode, report) as watch:
        returned = task(config)
    watch.result(returned)

The first Trainer that validates is the one whose curve is told. What the task returns counts as
its value; else it is the best value of the metric that this Trainer logs.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from caviar.base.errors import UserError
from caviar.base.result import COMPLETE, DIVERGED, PRUNED, STEP, Report, Result, test_metric
from caviar.plain import is_number
from caviar.task import factory

if TYPE_CHECKING:
    from caviar.task.follow import Follow
    from caviar.task.hands import Hands


@dataclass
class Watch:
    """What was seen of a task's Trainers."""

    metric: str
    mode: str
    report: Report | None
    hands: Hands | None = None
    """What the first Trainer that validates is taken into."""
    callbacks: list[Follow] = field(default_factory=list)

    def attach(self, package: str) -> list[Any]:
        """The callback for a Trainer that is being made."""
        from caviar.task.follow import Follow
        from caviar.training.package import adopted

        callback = Follow(self.metric, self.mode, self._told)
        self.callbacks.append(callback)
        holds = [] if self.hands is None else [self.hands.hold(callback, package)]
        return [adopted(c, package) for c in (callback, *holds)]

    def _told(self, callback: Follow, *point: Any) -> bool:
        """A point of the curve, if it is of the first Trainer that has any."""
        followed = self.followed
        return callback is followed and self.report is not None and self.report(*point)

    @property
    def followed(self) -> Follow | None:
        """The callback of the first Trainer that has validated."""
        return next((c for c in self.callbacks if c.last is not None), None)

    @property
    def curve(self) -> dict[int, float]:
        """Its points, since this process began."""
        followed = self.followed
        return {} if followed is None else followed.curve

    def result(self, returned: Any) -> Result:
        """What came of the task.

        Arguments:
            returned: by it.

        Raises:
            UserError: it returned no number, and no Trainer logged the metric.
        """
        callback, number = self.followed, None
        if self.hands is not None and not self.hands.taken:
            raise UserError(
                "the task made no Trainer that fits and validates, and a panda looks after one; "
                "let it train by Trainer.fit of pytorch_lightning or lightning, with validation"
            )
        if is_number(returned):
            number = float(returned)
        elif returned is not None and callback is None:
            raise UserError(
                f"the task returned {_short(returned)}; return the value of {self.metric} (a "
                "number), or let a Trainer log it"
            )
        if callback is None and number is None:
            raise UserError(self._nothing())
        trained = sum(c.last is not None for c in self.callbacks)
        if number is None and trained > 1 and self.hands is None:
            raise UserError(
                f"the task trained {trained} times and returned nothing: return the value of "
                f"{self.metric} that these come to, such as their mean"
            )
        if callback is None:
            assert number is not None
            finite = math.isfinite(number)
            return Result(
                status=COMPLETE if finite else DIVERGED,
                best=number if finite else None,
                last=number,
                unit=STEP,
                metrics={self.metric: number},
            )
        finite = number is None or math.isfinite(number)
        diverged = callback.diverged or callback.best is None or not finite
        status = DIVERGED if diverged else PRUNED if callback.pruned else COMPLETE
        trainer, best = callback.trainer, callback.best
        if status == COMPLETE and number is not None:
            best = number
        return Result(
            status=status,
            best=best,
            best_epoch=callback.best_epoch,
            best_step=callback.best_step,
            last=callback.last,
            unit=callback.length.unit,
            epochs=trainer.current_epoch,
            steps=trainer.global_step,
            num_params=callback.num_params,
            metrics={**callback.seen, self.metric: best if best is not None else math.nan},
            checkpoint=callback.checkpoint(),
        )

    def test_result(self, returned: Any) -> Result:
        """What came of the task where its test set is open: what was logged there.

        Raises:
            UserError: no Trainer has tested, and no number was returned.
        """
        tested = {name: value for c in self.callbacks for name, value in c.tested.items()}
        if not tested and is_number(returned):
            tested = {self.metric: float(returned)}
        if not tested:
            raise UserError(
                "the test set was to be opened, and the task has tested nothing; let its Trainer "
                "test, or write caviar.keys.test=null: then confirm judges by validation alone"
            )
        name = test_metric(self.metric)
        names = (name, name.removesuffix("_best"), self.metric)
        value = next((tested[n] for n in names if n in tested), None)
        return Result(best=value, last=value, metrics=tested)

    def _nothing(self) -> str:
        logged = sorted({name for c in self.callbacks for name in c.seen})
        if not self.callbacks:
            return (
                f"the task returned nothing and made no Trainer: return the value of {self.metric},"
                " or train by a pytorch_lightning or lightning Trainer that logs it"
            )
        if not logged:
            return (
                f"the task returned nothing, and its Trainer logged nothing; log {self.metric} in "
                "a validation, or return it"
            )
        close = difflib.get_close_matches(self.metric, logged, n=1)
        meant = f"; did you mean caviar.metric.name={close[0]}?" if close else ""
        return (
            f"caviar.metric.name is {self.metric}, but the task returned nothing and its Trainer "
            f"logged only {', '.join(logged)}{meant}"
        )


@contextmanager
def watching(
    metric: str, mode: str, report: Report | None, hands: Hands | None = None
) -> Iterator[Watch]:
    """Look on while a task runs."""
    watch = Watch(metric, mode, report, hands)
    factory._watching.append(watch.attach)
    try:
        yield watch
    finally:
        factory._watching.remove(watch.attach)


def _short(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '…'}"
