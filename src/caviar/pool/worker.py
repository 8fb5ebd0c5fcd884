"""One process of the pool: forked warm, it runs one job of Hydra's and ends.

It gets ready while the slots are taken, so that a free slot trains again some 0.1 s later: the
handshake is in `caviar.pool.process`.

It lives in a session of its own. So Ctrl-C in a terminal reaches the driver alone, which decides;
and whatever the job started, ranks and loaders' workers, can be ended with it. It does not depend
on the driver: if that one is killed, the trial goes on and writes its own result.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import cloudpickle

from caviar.base.environment import PORT, several_devices, without_ranks
from caviar.base.errors import Terminated
from caviar.base.processes import kill_session
from caviar.config.alike import Example
from caviar.pool.alone import SET_BY_IMPORTS, Script, begin_as_main, end_as_main

OUTPUT = "output.txt"  # what a job prints, in its folder


@dataclass
class Launched:
    """What all jobs of a launch have in common: Hydra's context, and the driver's state.

    `singletons` are Hydra's globals, such as its plugins and registered configs, which a fork of
    another process than the driver's does not have.
    """

    hydra_context: Any
    config: Any
    task_function: Any
    singletons: Any
    environment: Mapping[str, str]
    script: Script
    example: Example | None = None
    """Of one of the jobs, so that the others need not be composed."""

    def compose(self, overrides: Sequence[str]) -> Any:
        """A job's own config."""
        config = None if self.example is None else self.example.like(overrides)
        if config is not None:
            return config
        loader = self.hydra_context.config_loader
        return loader.load_sweep_config(self.config, list(overrides))

    def enter(self, overrides: Sequence[str]) -> None:
        """Let this process be one of the driver's script, with its environment and its Hydra."""
        from hydra.core.singleton import Singleton
        from hydra.core.utils import setup_globals

        os.environ.clear()
        os.environ.update({**self.environment, **SET_BY_IMPORTS})
        self.script.become(overrides)
        setup_globals()
        Singleton.set_state(self.singletons)

    def prepare(self, overrides: Any, index: int) -> Callable[[Mapping[str, str]], Any]:
        """What a job needs before it has its slot; the function that runs it in one.

        Hydra takes a tenth of a second for a config, which nobody waits for here.

        Arguments:
            overrides: of the job.
            index: of the job.
        """
        from omegaconf import open_dict

        self.enter(overrides)
        config = self.compose(overrides)
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{index}"
            config.hydra.job.num = index
        return partial(_run, self, config)


def work(
    launched: bytes,
    overrides: Any,
    index: int,
    timeout: float | None,
    channel: Connection,
) -> None:
    """Get job `index` ready; run it when told to, and send its JobReturn through `channel`.

    Arguments:
        launched: a pickled `Launched`.
        overrides: of this job.
        index: of this job.
        timeout: seconds; the driver ends a job after them, and if the driver is gone, this does.
        channel: the driver's other end says when to begin, and with which environment variables
            beside its own.
    """
    os.setsid()
    begin_as_main()
    # Until the job has begun there is nothing to tidy up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    slip: Exception | None = None
    try:
        run = cloudpickle.loads(launched).prepare(overrides, index)
    except Exception as error:  # its config is wrong: said once it has a slot, as any other error
        slip = error
    try:
        environment = json.loads(channel.recv_bytes())
    except (EOFError, OSError):  # the driver has ended, and nobody waits for this job
        os._exit(0)
    if timeout is not None:  # a minute later than the driver, which is to be first
        watch = threading.Timer(timeout + 60, _expire)
        watch.daemon = True
        watch.start()
    code = 0
    try:
        answer: Any = slip if slip is not None else run(environment)
    except KeyboardInterrupt as interrupt:
        answer = None
        number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
        code = 128 + number
    except Exception as error:  # outside of the job itself: its folder, its start as a single run
        answer = error
    try:
        pickled = cloudpickle.dumps(answer)
    except Exception as error:  # a task may return anything
        pickled = cloudpickle.dumps(RuntimeError(f"the job's return value: {error}"))

    def finish() -> None:
        with suppress(OSError):  # the driver is dead; what counts is in the ledger
            if code == 0:
                channel.send_bytes(pickled)
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # without waiting for threads that the job left behind

    end_as_main(finish)


def _expire() -> None:
    kill_session(os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


def _run(launched: Launched, config: Any, environment: Mapping[str, str]) -> Any:
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import run_job
    from omegaconf import OmegaConf

    from caviar.base.signals import tidy_sigterm

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    HydraConfig.instance().set_config(config)
    sweep: Any = OmegaConf.select(config, "hydra.sweep")
    folder = Path(sweep.dir).absolute() / str(sweep.subdir)
    redirect(folder)
    if several_devices(config):
        _become_single_run(config, folder)
    with tidy_sigterm():
        return run_job(
            hydra_context=launched.hydra_context,
            task_function=launched.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


def _become_single_run(config: Any, folder: Path) -> NoReturn:
    """Turn into an ordinary `python train.py …`, the same process with another program.

    Lightning starts the other ranks by repeating the command line, and inside of a sweep that
    would be the whole sweep: every rank would train other trials than its peers. The process
    stays the same, so that the driver can end it and sees how it ends; it sends no answer.
    """
    from caviar.base import project
    from caviar.config.commands import set_to, sources_of

    single = ["hydra.mode=RUN", set_to("hydra.run.dir", folder)]
    command = [*project.current().command(), *sources_of(config)]
    environment = without_ranks()
    environment["MASTER_PORT"] = os.environ[PORT]  # not Lightning's guess: see Slot
    os.execve(sys.executable, [*command, *config.hydra.overrides.task, *single], environment)


def redirect(folder: Path) -> None:
    """Let everything that this process prints go to a file in `folder`, its C code's too."""
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with open(folder / OUTPUT, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
