"""Which exception a failed run is told by: the one that began it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader

from caviar.base.causes import first_cause
from caviar.base.errors import UserError, fault_of, interrupts_told, one_line
from caviar.base.signals import handlers_kept
from caviar.training.quiet import quiet


def begins() -> None:
    raise KeyError("began it")


def follows() -> None:
    raise RuntimeError("came of it")


def in_a_finally() -> None:
    try:
        begins()
    finally:
        follows()


def in_an_except_of_everything() -> None:
    """As Lightning's trainer does with what a hook raises: tear down, and raise it again."""
    try:
        begins()
    except BaseException:
        follows()
        raise


@contextmanager
def tidied() -> Iterator[None]:
    try:
        yield
    finally:
        follows()


class Closes:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        follows()


def at_the_end_of_a_generator() -> None:
    with tidied():
        begins()


def at_the_end_of_a_with() -> None:
    with Closes():
        begins()


def named_as_its_cause() -> None:
    try:
        begins()
    except KeyError as error:
        raise RuntimeError("came of it") from error


def twice() -> None:
    try:
        in_a_finally()
    finally:
        follows()


def dealt_with_by_name() -> None:
    """What a lookup that fails leads to is no fault of the lookup."""
    try:
        begins()
    except (KeyError, FileNotFoundError):
        follows()


def replaced_on_purpose() -> None:
    try:
        begins()
    except Exception:
        raise RuntimeError("came of it")  # noqa: B904


def replaced_without_a_trace() -> None:
    try:
        begins()
    except BaseException:
        raise RuntimeError("came of it") from None


def within_a_finally_of_something_else() -> None:
    try:
        try:
            begins()
        except KeyError:
            follows()
    finally:
        len("tidied up")


def alone() -> None:
    follows()


def raised_by(act: Callable[[], None]) -> BaseException:
    with pytest.raises((KeyError, RuntimeError)) as raised:
        act()
    return raised.value


@pytest.mark.parametrize(
    "act",
    [
        in_a_finally,
        in_an_except_of_everything,
        at_the_end_of_a_generator,
        at_the_end_of_a_with,
        named_as_its_cause,
        twice,
    ],
)
def test_the_exception_that_began_it_is_told(act: Callable[[], None]) -> None:
    assert one_line(raised_by(act)) == "KeyError: 'began it'"


@pytest.mark.parametrize(
    "act",
    [
        dealt_with_by_name,
        replaced_on_purpose,
        replaced_without_a_trace,
        within_a_finally_of_something_else,
        alone,
    ],
)
def test_an_exception_that_was_dealt_with_is_not(act: Callable[[], None]) -> None:
    assert one_line(raised_by(act)) == "RuntimeError: came of it"


def test_a_circle_of_causes_comes_to_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert first_cause(one) is other


class NeverBegins(DataLoader[Any]):
    """As a loader whose workers cannot be started, because a lambda cannot be pickled."""

    def __iter__(self) -> Any:
        raise AttributeError("Can't pickle local object")


def test_what_lightning_meets_when_it_tears_down_is_not() -> None:
    """It asks for the length of a loader that never began."""
    quiet()
    silent = {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, **silent)
    with handlers_kept(), pytest.raises(RuntimeError, match="Please call") as raised:
        trainer.fit(BoringModel(), NeverBegins(range(2)))
    assert one_line(raised.value) == "AttributeError: Can't pickle local object"


class Breaks:
    """A data set that a worker of a loader cannot read."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> None:
        try:
            raise ValueError(f"row {index}\n  is broken")
        except ValueError as error:
            raise OSError("cannot be read") from error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_worker_of_a_loader_raised_is_told_by_its_words() -> None:
    """Torch sends its traceback as text, which begins with where it came from."""
    with pytest.raises(OSError, match="Caught OSError") as raised:
        list(DataLoader(Breaks(), num_workers=1))
    assert one_line(raised.value) == "ValueError: row 0 is broken"


class Interrupted(BoringModel):
    def on_train_start(self) -> None:
        raise KeyboardInterrupt


def test_a_signal_is_one_where_lightnings_teardown_fails_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a trial that was interrupted in an unlucky moment has failed for good."""
    quiet()
    silent = {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, **silent)
    monkeypatch.setattr(trainer.strategy, "teardown", follows)
    with handlers_kept(), pytest.raises(KeyboardInterrupt), interrupts_told():
        trainer.fit(Interrupted())


def test_what_follows_no_signal_is_itself() -> None:
    with pytest.raises(RuntimeError), interrupts_told():
        in_an_except_of_everything()


def test_what_was_put_into_words_for_a_user_is_told_in_these() -> None:
    in_words = UserError("write trust_checkpoints: true")
    in_words.__cause__ = ValueError("Weights only load failed")
    assert one_line(in_words) == "write trust_checkpoints: true"


def test_a_killed_worker_of_a_loader_is_a_death_by_a_signal() -> None:
    told = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    assert fault_of(told) == "killed"
    assert fault_of(RuntimeError("DataLoader worker (pid 7) exited unexpectedly")) == "exception"
