"""The Hydra application behind `train.py` and the `caviar` command.

It registers the resolvers before Hydra composes, rewrites `one_minus.` overrides, and turns a
user's slip into one message and exit code 2. Torch is imported only when a model is trained.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from caviar import project, resolvers
from caviar.errors import SearchFailed, Terminated, UserError
from caviar.overrides import rewrite_one_minus

USER_ERROR, FAILURE, INTERRUPTED, TERMINATED = 2, 1, 130, 143  # exit codes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as `train.py ARGUMENTS`; the process's own by default."""
    with clear_errors(), tidy_sigterm():
        resolvers.register()
        root = project.root()
        os.environ["CAVIAR_ROOT"] = str(root)
        given = sys.argv[1:] if arguments is None else arguments
        # Lightning starts the other ranks of a distributed run from sys.argv.
        sys.argv = [str(root / "train.py"), *rewrite_one_minus(given)]
        decorate = hydra_main(str(root / "conf"), "train", version_base="1.3")
        decorate(task)()


def task(config: DictConfig) -> float | None:
    """One run, in the folder that Hydra made for it."""
    output = Path(HydraConfig.get().runtime.output_dir)
    if config.trial.number is not None:
        from caviar.trial import run_trial

        return run_trial(config, output)
    from caviar.training import train

    result = train(config, output)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        from caviar.view import print_result

        print_result(result, config.metric.name, output)
    return result.best


@contextmanager
def tidy_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does; Lightning keeps a handler that it finds."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def clear_errors() -> Iterator[None]:
    """One message and an exit code for what the user can mend; tracebacks for the rest.

    `HYDRA_FULL_ERROR=1` in the environment shows every traceback.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints and exits by itself
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        _say(_message(error))
        sys.exit(USER_ERROR)
    except SearchFailed as error:
        _say(str(error))
        sys.exit(FAILURE)
    except KeyboardInterrupt as interrupt:
        print(
            f"\ninterrupted{': ' if interrupt.args else ''}{' '.join(map(str, interrupt.args))}",
            file=sys.stderr,
        )
        sys.exit(TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED)
    finally:
        if not wants_traceback:
            os.environ.pop("HYDRA_FULL_ERROR", None)


def _say(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)


def _message(error: Exception) -> str:
    """The error and what caused it, without repeating and without Hydra's advice to debug it."""
    if isinstance(error, UserError):
        return str(error)
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines += [line for line in str(cause).splitlines() if line.strip() and line not in lines]
        cause = cause.__cause__
    return "\n".join(line for line in lines if "HYDRA_FULL_ERROR" not in line)
