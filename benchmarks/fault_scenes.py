"""Faults of processes and of trials; `fault_machine.py` has those of the machine around them.

A scene disturbs a stage, brings it to its end, and says in a few words what was seen. It raises
`Broken` where something specific to it is not as it should be; what must always hold is the
judge's.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fault_stage import Broken, Stage

SCENES: dict[str, Scene] = {}


@dataclass(frozen=True)
class Scene:
    """One row of the table."""

    fault: str
    run: Callable[[Stage], str]
    overrides: tuple[str, ...] = ()
    """Beyond the usual; they need a reference of their own."""
    trials: int | None = None
    """Fewer than usual."""


def scene(
    fault: str, *overrides: str, trials: int | None = None
) -> Callable[[Callable[[Stage], str]], Callable[[Stage], str]]:
    """Put a function into the table, under its own name."""

    def keep(run: Callable[[Stage], str]) -> Callable[[Stage], str]:
        SCENES[run.__name__.replace("_", "-")] = Scene(fault, run, overrides, trials)
        return run

    return keep


@scene("kill -9 of the driver")
def driver(stage: Stage) -> str:
    stage.start()
    stage.midway()
    stage.strike()
    stage.driver.kill()
    stage.end(-signal.SIGKILL)
    stage.restart()
    stage.end(0)
    return "its workers wrote their trials; the same command went on"


@scene("kill -9 of a worker")
def worker(stage: Stage) -> str:
    stage.start()
    victim = stage.midway()
    stage.strike()
    os.killpg(victim.pid or 0, signal.SIGKILL)
    stage.end(0)
    stage.says(f"trial {victim.number}: killed by SIGKILL; it is tried again")
    return "tried again from its last checkpoint"


@scene("kill -9 of the server that workers are forked from")
def fork_server(stage: Stage) -> str:
    stage.start()
    stage.midway()
    stage.strike()
    (server,) = stage.children(stage.driver.pid, "forkserver")
    os.kill(server, signal.SIGKILL)
    stage.end(0)
    return "the stage went on"


@scene("kill -9 of a DDP rank", "trainer=ddp_cpu", "hydra.launcher.num_workers=1", trials=2)
def rank(stage: Stage) -> str:
    stage.start()
    stage.until(lambda: any(len(t.curve) >= 2 for t in stage.trials()), "a trial's second epoch")
    stage.strike()
    ranks = [p for p, e in stage.processes().items() if e.get("LOCAL_RANK") == "1"]
    for pid in ranks:
        os.kill(pid, signal.SIGKILL)
    stage.end(0)
    stage.says("rank 1 was killed by SIGKILL; it is tried again")
    return f"{len(ranks)} rank killed; its trial was tried again"


@scene("kill -9 of every process at once")
def power(stage: Stage) -> str:
    stage.start()
    stage.midway()
    stage.strike()
    stage.kill_all()
    stage.restart()
    stage.end(0)
    return "the same command went on"


@scene("kill -9 of some process of the run, again and again")
def storm(stage: Stage) -> str:
    chance, kills, commands = random.Random(0), 0, 1
    often = "hydra.launcher.retries=100"
    stage.start(often)
    stage.midway(1)
    stage.strike()
    while kills < 2 * stage.size.trials:
        time.sleep(chance.uniform(0, 1))
        if stage.driver.poll() is not None:
            stage.restart(often)
            commands += 1
            stage.until(lambda: any(t.running for t in stage.trials()), "a trial that runs", 30)
        elif found := sorted(stage.processes()):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(found), signal.SIGKILL)
                kills += 1
        if all(t.finished for t in stage.trials()):
            break
    with suppress(Broken):
        stage.until(lambda: stage.driver.poll() is not None, "the command's end")
    stage.start(often)
    stage.end(0)
    return f"{kills} kills, {commands + 1} commands"


def _interrupted(stage: Stage, number: signal.Signals) -> str:
    stage.start()
    stage.midway()
    stage.strike()
    began = time.monotonic()
    os.killpg(stage.driver.pid, number)
    stage.end(128 + number)
    took = time.monotonic() - began
    stage.says("the same command continues")
    stage.until(lambda: not stage.processes(), "the end of its other processes", 5)
    stage.restart()
    stage.end(0)
    return f"left with code {128 + number} after {took:.1f} s; the same command went on"


@scene("SIGTERM to the driver")
def sigterm(stage: Stage) -> str:
    return _interrupted(stage, signal.SIGTERM)


@scene("Ctrl-C")
def sigint(stage: Stage) -> str:
    return _interrupted(stage, signal.SIGINT)


def _faulty(stage: Stage, kind: str, status: str | None, *more: str, **environment: str) -> None:
    """Run a stage whose trial 0 has a fault; `status` is its result, None if it has another."""
    if status is not None:
        stage.expected[0] = status
    stage.start(*more, CAVIAR_FAULT=kind, CAVIAR_FAULT_TRIAL="0", **environment)

    def struck() -> bool:
        return any(t.number == 0 and (t.faults or t.finished) for t in stage.trials())

    stage.until(struck, "the fault")
    stage.strike()
    stage.end(0)


@scene("an exception in one trial")
def exception(stage: Stage) -> str:
    _faulty(stage, "exception", "exception")
    stage.says("trial 0: exception: ValueError: a bug in the model")
    return "recorded with its message; the others ran"


@scene("an exception in every trial")
def exceptions(stage: Stage) -> str:
    stage.start("hydra.launcher.num_workers=1", CAVIAR_FAULT="exception")
    stage.end(1)
    stage.says("jobs all failed with\n  ValueError: a bug in the model")
    stage.expected = {t.number: "exception" for t in stage.trials() if t.finished}
    if len(stage.expected) >= stage.size.trials:
        raise Broken("it did not stop early")
    stage.restart()
    stage.end(0)
    count = len(stage.expected)
    return f"stopped after {count} with code 1, said once; mended, the others ran"


@scene("a loss that is NaN")
def nan(stage: Stage) -> str:
    _faulty(stage, "nan", "diverged")
    return "diverged: a result, the worst"


@scene("memory that runs out")
def memory(stage: Stage) -> str:
    _faulty(stage, "memory", "out of memory")
    stage.says("it is tried again")
    return "told apart; tried once more; the others ran"


@scene("memory that runs out once")
def memory_once(stage: Stage) -> str:
    _faulty(stage, "memory", None, CAVIAR_FAULT_ONCE=str(stage.folder / "once"))
    stage.says("it is tried again")
    return "tried again, with success"


@scene("a trial that hangs")
def hang(stage: Stage) -> str:
    _faulty(stage, "hang", "timeout", "hydra.launcher.timeout=15")
    stage.says("timeout (ran longer than hydra.launcher.timeout)")
    return "ended by hydra.launcher.timeout; the others ran"


@scene("two drivers on one study")
def two_drivers(stage: Stage) -> str:
    first = stage.start()
    stage.midway(1)
    stage.strike()
    stage.start()
    stage.end(0)
    stage.end(0, first)
    return "both ended well; each trial ran once"
