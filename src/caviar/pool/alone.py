"""What makes a process of the pool like that of a `python train.py` of its own.

Code that trains must not see how its process came to be. Forked from a server, it would be a child
to multiprocessing: loaders' workers would begin as children of another such server, with all its
imports, a minute of them on a busy machine; its semaphores would be booked with the driver; and its
`__main__` would be empty, so that what the user's script defines could not be found or pickled.

    begin_as_main()                  first, in the new process
    Script.of_driver()               what the driver's script is; goes along to every process
    script.become(overrides)         is that script now, called with this job's overrides
    end_as_main(finish)              what an interpreter does when it ends, and then `finish`
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, process, resource_tracker
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

PATIENCE = 5.0  # seconds for what is registered with atexit
SET_BY_IMPORTS: dict[str, str] = {}  # environment variables, by what the server has imported
_MAIN = process.current_process()  # of the server, which imports this module before it forks


def begin_as_main() -> None:
    """Be nobody's child, as far as multiprocessing and random generators know."""
    private: Any = process
    private._current_process, private._parent_process = _MAIN, None
    _MAIN.name = "MainProcess"  # which multiprocessing gave a child's name in the meantime
    # Both were handed on by the driver. What this process needs of the kind it starts itself.
    tracker: Any = resource_tracker._resource_tracker
    server: Any = forkserver._forkserver
    for descriptor in (tracker._fd, server._forkserver_alive_fd):
        os.close(descriptor)
    tracker.__init__()
    server.__init__()
    if "numpy" in sys.modules:  # as Python's own generator, which sees a fork
        sys.modules["numpy"].random.seed()


@dataclass
class Script:
    """The driver's `__main__`, as far as a job may need it.

    A module named `__main__` cannot be imported elsewhere, and running the user's script once more
    might begin the whole sweep again. So what it defines goes along by value.
    """

    start_method: str | None
    """Of multiprocessing, if the script chose one; None is the platform's."""
    file: str | None
    spec: Any
    definitions: dict[str, Any]
    """Its classes and functions."""

    @classmethod
    def of_driver(cls) -> Script:
        """That of this process."""
        main = sys.modules["__main__"]
        return cls(
            start_method=multiprocessing.get_start_method(allow_none=True),
            file=getattr(main, "__file__", None),
            spec=getattr(main, "__spec__", None),
            definitions={
                name: value
                for name, value in vars(main).items()
                if isinstance(value, type | FunctionType)
                and value.__module__ == "__main__"
                and _goes_along(value)
            },
        )

    def become(self, overrides: Sequence[str]) -> None:
        """Make this process that script's, called with a job's overrides."""
        multiprocessing.set_start_method(self.start_method, force=True)
        main = ModuleType("__main__")
        main.__spec__ = self.spec
        if self.file is not None:
            main.__file__ = self.file
        vars(main).update(self.definitions)
        sys.modules["__main__"] = main
        sys.argv = [sys.argv[0], *overrides]


def imported_by_main() -> list[str]:
    """Modules of installed packages that this process's script names at its top: what each of its
    jobs would import. Those of the project itself may do anything when they are imported."""
    named = set()
    for value in vars(sys.modules["__main__"]).values():
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        named.add(str(name))
    installed = ("site-packages", "dist-packages")
    files = {n: str(getattr(sys.modules.get(n), "__file__", "")) for n in named}
    return sorted(n for n, file in files.items() if any(part in file for part in installed))


@contextmanager
def without_main() -> Iterator[None]:
    """Keep multiprocessing from running the user's script once more in a child that it starts, and
    from settling on a start method, which the script or a job may still choose."""
    main, method = sys.modules["__main__"], multiprocessing.get_start_method(allow_none=True)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        multiprocessing.set_start_method(method, force=True)


def end_as_main(finish: Callable[[], None]) -> None:
    """Do what is registered for the end of an interpreter: loaders' workers are ended, semaphores
    removed, loggers flushed. Then call `finish`, also if that takes too long.

    Arguments:
        finish: ends the process.
    """
    once = threading.Lock()

    def finish_once() -> None:
        with once:  # never given back
            finish()

    late = threading.Timer(PATIENCE, finish_once)
    late.daemon = True
    late.start()
    with suppress(Exception):
        atexit._run_exitfuncs()
    finish_once()


def _goes_along(value: Any) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:  # of any kind: it refers to a lock, an open file, …
        return False
    return True
