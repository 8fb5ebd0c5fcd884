"""A Ctrl-C in the middle of a training, at a certain step of whichever trial comes there first:

    +callbacks.interrupt='{_target_: interrupts.ctrl_c, package: lightning, step: 12, once: FILE}'

So a test needs not wait for the right moment. The process whose number is in DRIVER gets it, as
from a terminal, where the trials have sessions of their own.
"""

from __future__ import annotations

import os
import signal
import time
from importlib import import_module
from pathlib import Path
from typing import Any

DRIVER = "CTRL_C_GOES_TO"


def ctrl_c(package: str, step: int, once: str) -> Any:
    """A callback of that package; `once` is the file that says that it was."""

    class CtrlC(import_module(package).Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == step:
                interrupt(Path(once))

    return CtrlC()


def interrupt(once: Path) -> None:
    try:
        once.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(int(os.environ[DRIVER]), signal.SIGINT)
    time.sleep(1)  # so that this trial has not ended before the driver asks it to
