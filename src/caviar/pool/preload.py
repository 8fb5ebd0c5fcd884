"""Imported once, in the server that every worker is forked from: what trials import anyway.

Importing, and parsing an override, which fills the parsers' caches, is all that happens here.
Running torch would start threads, and a fork of a process with threads hangs: the locks that they
hold stay locked in the child. Touching CUDA would leave the children without it.
"""

import contextlib
import gc
import importlib
import os
import signal

from caviar.base.environment import PRELOAD
from caviar.pool import alone


def _parse() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    OverridesParser.create().parse_overrides(["seed=1", "trial.number=0", "optimizer.lr=0.1"])


if PRELOAD in os.environ:
    # Until here the mask of `start_server` held Ctrl-C back; ignored, it can be let through.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    _before = dict(os.environ)
    for _name in os.environ[PRELOAD].split():
        with contextlib.suppress(Exception):  # a trial will say what is wrong with it
            importlib.import_module(_name)
    alone.SET_BY_IMPORTS.update(set(os.environ.items()) - set(_before.items()))
    _parse()
    # The children's garbage collections need not look at all this, nor copy its pages.
    gc.collect()
    gc.freeze()
