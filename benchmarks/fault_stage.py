"""A real search stage that can be disturbed, brought to its end, and judged.

    stage = Stage(folder, FULL)
    stage.start()                    # python train.py -m …, in a process of its own
    stage.midway()                   # some trials finished, one in the middle of its training
    stage.strike()                   # remember what is finished; the clock begins
    stage.driver.kill()
    stage.restart()                  # the same command again
    stage.end(0)
    complaints = judge(stage, reference)

The judge trusts no command's word: it reads the journal's lines itself, or what a trigger in the
database wrote down, and looks for processes in /proc.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caviar.ledger import Ledger, Trial

ROOT = Path(__file__).resolve().parents[1]
MARK = "CAVIAR_FAULT_STAGE"  # in the environment of every process of a stage
NAME = "01_coarse"
PATIENCE = 150.0  # seconds for anything that should happen
FINISHED = (1, 2, 3)  # Optuna's numbers for complete, pruned, failed


@dataclass(frozen=True)
class Size:
    """How large a stage is, and how long a lock is held."""

    trials: int
    epochs: int
    locked: float


FULL, QUICK = Size(8, 10, 30), Size(4, 8, 5)


class NotRun(Exception):
    """This machine lacks what a fault needs."""


class Broken(Exception):
    """A fault was not survived."""


class Stage:
    """One stage in a scratch folder, `runs` below it, and every process that belongs to it."""

    def __init__(self, folder: Path, size: Size, *overrides: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.size = folder, size
        self.storage: str | None = None
        """URL of a database, if that is the ledger."""
        self.open = ExitStack()
        """What is mounted or started for this stage, until it is left."""
        self.runs, self.mark = folder / "runs", uuid.uuid4().hex
        self.driver: subprocess.Popen[bytes]
        self.outputs: list[Path] = []
        self.expected: dict[int, str] = {}
        """Trials whose fault is their result, and its status."""
        self.before: dict[int, Any] = {}
        """Results that were finished before something happened."""
        self.seconds: float | None = None
        """From the latest strike or restart to the next result."""
        self._since, self._known = 0.0, set[int]()
        self._ledger: Ledger | None = None
        paths = [str(ROOT / "tests"), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **os.environ,
            MARK: self.mark,
            "CAVIAR_ROOT": str(ROOT),
            "CAVIAR_RUNS": str(self.runs),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        self.arguments = [
            "-m",
            "search.study=s",
            "hydra/launcher=pool",
            "hydra.launcher.num_workers=2",
        ]
        self.model = [
            f"search.num_trials={size.trials}",
            f"trainer.max_epochs={size.epochs}",
            "~space.data",
            "~space.model",
            "data.batch_size=32",
            "model.dropout=0.2",
            "model._target_=fault_models.Faulty",
            *overrides,
        ]

    # -- processes

    def start(self, *more: str, model: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        """The command that runs the stage, or goes on with it."""
        output = self.folder / f"output_{len(self.outputs)}.txt"
        self.outputs.append(output)
        chosen = [*self.arguments, *(self.model if model else ()), *more]
        if self.storage:
            chosen += [f"search.storage={self.storage}", "search.heartbeat=2"]
        with output.open("wb") as file:
            self.driver = subprocess.Popen(
                [sys.executable, "train.py", *chosen],
                cwd=ROOT,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.driver

    def restart(self, *more: str) -> None:
        """The same command again; the clock begins anew."""
        self.strike()
        self.start(*more)

    def end(self, code: int, driver: subprocess.Popen[bytes] | None = None) -> str:
        """Wait for a driver, the latest by default, which should leave with `code`; its output."""
        driver = driver or self.driver
        self.until(lambda: driver.poll() is not None, "the command's end")
        printed = self.printed()
        if driver.returncode != code:
            last = " / ".join(printed.strip().splitlines()[-3:])
            raise Broken(f"exit code {driver.returncode}, not {code}: {last}")
        return printed

    def printed(self) -> str:
        """What the latest command printed."""
        return self.outputs[-1].read_text(encoding="utf-8", errors="replace")

    def says(self, *texts: str) -> None:
        """Check that the latest command printed each of `texts`, and just once."""
        for text in texts:
            if (count := self.printed().count(text)) != 1:
                raise Broken(f"{text!r} was printed {count} times")

    def processes(self) -> dict[int, dict[str, str]]:
        """Every living process of this stage, and its environment."""
        found = {}
        mine = f"{MARK}={self.mark}"
        for entry in Path("/proc").iterdir():
            with suppress(OSError):  # it has just ended, or is not ours
                if not entry.name.isdigit():
                    continue
                text = (entry / "environ").read_bytes().decode(errors="replace")
                if mine in (variables := text.split("\0")):
                    found[int(entry.name)] = dict(v.split("=", 1) for v in variables if "=" in v)
        return found

    def children(self, parent: int, words: str) -> list[int]:
        """Children of a process whose command line holds `words`."""
        found = []
        for pid in self.processes():
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
                if words in command and int(status.rpartition(")")[2].split()[1]) == parent:
                    found.append(pid)
        return found

    def kill_all(self) -> None:
        """As a machine that loses its power."""
        until = time.monotonic() + 20
        while (found := self.processes()) and time.monotonic() < until:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if hasattr(self, "driver"):
                self.driver.poll()
            time.sleep(0.05)
        if hasattr(self, "driver"):
            self.driver.wait(20)

    def leave(self) -> None:
        """Leave nothing running, mounted or started."""
        self.kill_all()
        self.open.close()

    # -- the ledger

    @property
    def study(self) -> Path:
        """The study's folder."""
        return self.runs / "s"

    @property
    def journal(self) -> Path:
        """The ledger, if it is a file."""
        return self.study / "study.journal"

    def trials(self) -> list[Trial]:
        """As the ledger has them now."""
        if self._ledger is None:
            if not self.storage and not self.journal.exists():
                return []
            self._ledger = Ledger.open(self.storage or str(self.journal), "s")
        return self._ledger.trials(NAME)

    def records(self) -> Counter[int]:
        """How often each trial was given a result, from what lies on the disk."""
        if self.storage:
            import psycopg

            with (
                suppress(psycopg.OperationalError),
                psycopg.connect(self.storage, connect_timeout=2) as connection,
            ):
                return Counter(n for (n,) in connection.execute("SELECT number FROM given_results"))
            return Counter(self._known)  # it is away
        if not self.journal.exists():
            return Counter()
        found: Counter[int] = Counter()
        for line in self.journal.read_bytes().splitlines():
            with suppress(ValueError):  # a torn line
                entry = json.loads(line)
                if entry.get("op_code") == 6 and entry.get("state") in FINISHED:
                    found[entry["trial_id"]] += 1
        return found

    def forget(self) -> None:
        """The ledger was removed: the next one is another."""
        self._ledger = None

    def midway(self, epochs: int = 2) -> Trial:
        """Wait until a quarter of the trials is finished, and another has trained some epochs."""
        found: list[Trial] = []

        def there() -> bool:
            known = self.trials()
            found[:] = [t for t in known if t.running and len(t.curve) >= epochs]
            return bool(found) and 4 * sum(t.finished for t in known) >= len(known)

        self.until(there, "a trial in the middle of its training")
        return found[0]

    # -- the clock

    def strike(self) -> None:
        """Something happens now: remember the results so far, and begin to count seconds."""
        self.look()
        self.before |= {t.number: t.result.to_dict() for t in self.trials() if t.result}
        self._known, self._since, self.seconds = {*self.records()}, time.monotonic(), None

    def look(self) -> None:
        """Stop the clock if there is a new result."""
        if self._since and self.seconds is None and {*self.records()} - self._known:
            self.seconds = time.monotonic() - self._since

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait for a condition, with an eye on the ledger.

        Raises:
            Broken: it did not come true in time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Broken(f"waited {seconds:.0f} s for {what}")
            self.look()
            time.sleep(0.05)  # nobody else announces what the ledger says
        self.look()

    def learnt(self, number: int) -> list[dict[str, str]]:
        """The rows of a trial's metrics.csv."""
        text = (self.study / NAME / str(number) / "metrics.csv").read_text(encoding="utf-8")
        return list(csv.DictReader(text.splitlines()))
