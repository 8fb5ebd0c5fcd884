"""`prepare_data` once for all trials of a command on a machine, and never twice at a time.

Lightning calls it in every process: that of the data module, which downloads or converts a data
set, and the model's, if it has one. Of five trials that begin together, four would read what the
first has half written. So it is called under a lock, which dies with its process; and where a
command has many trials, the first one's is for all of them. If it raises, that trial has failed,
and the next one tries again.

Nothing is locked, and no file is made, where nobody has written a `prepare_data`.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from types import CodeType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from caviar.base.environment import COMMAND
from caviar.base.files import locked
from caviar.training.package import is_inherited

HOOK = "prepare_data"


def prepare_once(trainer: Any, config: DictConfig) -> None:
    """Let a trainer's calls of `prepare_data` be that careful.

    Lightning decides which ranks call it. A run that belongs to no command of many trials calls it
    as often as Lightning would.

    Arguments:
        trainer: of either package, before it fits.
        config: of the run.
    """
    connector = trainer._data_connector  # no callback is asked so early
    of_lightning = connector.prepare_data

    def prepare_data() -> None:
        with ExitStack() as calls:
            for node, owner in (("data", trainer.datamodule), ("model", trainer.lightning_module)):
                if owner is not None and not is_inherited(owner, HOOK):
                    calls.enter_context(_careful(owner, node, config))
            of_lightning()

    connector.prepare_data = prepare_data


def prepare_now(owner: Any, node: str, config: DictConfig) -> None:
    """Call a module's or a data module's `prepare_data` here and now, that carefully.

    Arguments:
        owner: whose it is.
        node: of the config that it was built from, `data` or `model`.
        config: of the run.
    """
    if not is_inherited(owner, HOOK):
        _prepare(owner, getattr(owner, HOOK), node, config)


@contextmanager
def _careful(owner: Any, node: str, config: DictConfig) -> Iterator[None]:
    """Put the careful call in the place of a module's own; for that time alone, since modules are
    copied and pickled."""
    own = vars(owner).get(HOOK)
    vars(owner)[HOOK] = partial(_prepare, owner, getattr(owner, HOOK), node, config)
    try:
        yield
    finally:
        del vars(owner)[HOOK]
        if own is not None:
            vars(owner)[HOOK] = own


def _prepare(owner: Any, prepare_data: Any, node: str, config: DictConfig) -> None:
    """Call it, under a lock, unless an earlier trial of the same command has."""
    command, kind = os.environ.get(COMMAND), type(owner)
    done = f"done {command} {_digest(_what_counts(owner, node, config))}\n"
    folder = Path(tempfile.gettempdir()) / f"caviar-{os.getuid()}"  # of this machine
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{HOOK}-{_digest([config.paths.root, kind.__module__, kind.__qualname__])}"

    def say(file: FileIO) -> None:
        begun = [line for line in path.read_text(encoding="utf-8").splitlines() if "begun" in line]
        print(f"waiting for {HOOK} of {begun[-1][6:] if begun else 'another run'}", flush=True)

    with locked(path, say) as file:
        file.seek(0)
        if command is not None and done.encode() in file.readlines():
            return
        file.write(f"begun {_name(config)}, process {os.getpid()}\n".encode())
        prepare_data()
        file.write(done.encode())


def _name(config: DictConfig) -> str:
    if config.trial.number is None:
        return f"the run in {config.paths.output}"
    return f"trial {config.trial.stage}/{config.trial.number} of {config.search.study}"


def _what_counts(owner: Any, node: str, config: DictConfig) -> dict[str, Any]:
    """A module's own config, without what cannot matter here: arguments that it keeps under their
    names and whose names `prepare_data` does not read.

    So neither a batch size nor a seed makes a difference between two trials, and an image size
    does, where that is what is written to disk. In doubt it is called again.
    """
    read, kept = _read_by(type(owner)), {*vars(owner), *getattr(owner, "hparams", ())}
    given: Any = OmegaConf.to_container(config[node], resolve=True)
    return {key: value for key, value in given.items() if key in read or key not in kept}


def _read_by(kind: type) -> set[str]:
    """Every name and text in `prepare_data`, and in what it calls of its own class."""
    names: set[str] = set()
    left = {HOOK}
    while left:
        name = left.pop()
        names.add(name)
        attribute = inspect.getattr_static(kind, name, None)
        function = getattr(attribute, "fget", None) or getattr(attribute, "__func__", attribute)
        code = getattr(inspect.unwrap(function) if function else None, "__code__", None)
        if code is not None and not is_inherited(kind, name):
            left |= _mentioned(code) - names
    return names


def _mentioned(code: CodeType) -> set[str]:
    inner = (_mentioned(c) for c in code.co_consts if isinstance(c, CodeType))
    return {*code.co_names, *(c for c in code.co_consts if isinstance(c, str))}.union(*inner)


def _digest(thing: Any) -> str:
    return hashlib.sha256(json.dumps(thing, sort_keys=True, default=str).encode()).hexdigest()[:16]
