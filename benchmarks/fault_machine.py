"""Faults of the machine around a stage: its disk, files, ledger, database and clock."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from fault_scenes import scene
from fault_stage import NAME, ROOT, Broken, NotRun, Stage
from postgres import Server, programs

HISTORY = """
CREATE TABLE given_results (number int);
CREATE FUNCTION give() RETURNS trigger AS $$
  BEGIN INSERT INTO given_results VALUES (NEW.number); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TRIGGER give AFTER UPDATE OF state ON trials FOR EACH ROW
  WHEN (NEW.state IN ('COMPLETE', 'PRUNED', 'FAIL')) EXECUTE FUNCTION give();
"""


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRun(f"mount: {done.stderr.strip() or 'not permitted'}")


@contextmanager
def _mounted(place: Path, *arguments: str) -> Iterator[None]:
    """Mount something at `place`, for a while."""
    if os.getuid() != 0 or not shutil.which("mount"):
        raise NotRun("mounting needs root")
    place.mkdir(parents=True, exist_ok=True)
    _mount(*arguments, str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def _given_up(stage: Stage) -> str:
    """Wait for the driver to leave by itself; the last line that it said."""
    stage.until(lambda: stage.driver.poll() is not None, "the command to give up")
    if stage.driver.returncode in (0, None):
        raise Broken("the command said that all is well")
    printed = stage.printed()
    if "Traceback" in printed:
        raise Broken(f"a traceback: {printed.strip().splitlines()[-1]}")
    return printed.strip().splitlines()[-1]


@scene("a full disk")
def full_disk(stage: Stage) -> str:
    stage.open.enter_context(_mounted(stage.runs, "-t", "tmpfs", "-o", "size=64m", "tmpfs"))
    stage.start()
    stage.midway()
    stage.strike()

    def filled() -> bool:
        """Make it as large as what is in it, so that the next byte finds no room."""
        disk = os.statvfs(stage.runs)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        with suppress(NotRun):  # refused where something was written between these two lines
            _mount("-o", f"remount,size={used}", str(stage.runs))
            return True
        return False

    stage.until(filled, "a disk without room")
    try:
        said = _given_up(stage)
    finally:
        _mount("-o", "remount,size=128m", str(stage.runs))
    stage.restart()
    stage.end(0)
    return f"“{said}”; with more room it went on"


@scene("a folder that becomes read-only")
def read_only(stage: Stage) -> str:
    with _mounted(stage.runs, "--bind", str(stage.runs)):
        pass  # whether that is possible
    stage.start()
    stage.midway()
    stage.strike()
    with _mounted(stage.runs, "--bind", str(stage.runs)):
        _mount("-o", "remount,bind,ro", str(stage.runs))
        said = _given_up(stage)
    stage.restart()
    stage.end(0)
    return f"“{said}”; writable again, it went on"


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


@scene("the ledger locked by another process")
def locked_ledger(stage: Stage) -> str:
    stage.start()
    stage.midway()
    with _locked(stage.journal), _locked(Path(f"{stage.journal}.claims/all")):
        stage.strike()
        until = time.monotonic() + stage.size.locked
        stage.until(lambda: time.monotonic() > until, "the lock's end")
    stage.end(0)
    return f"all waited for {stage.size.locked:.0f} s, then went on"


@scene("the journal's last line torn")
def torn_line(stage: Stage) -> str:
    stage.start()
    stage.midway()
    stage.strike()
    stage.kill_all()
    with stage.journal.open("rb+") as file:
        last = file.read().splitlines()[-1]
        file.write(last[: len(last) // 2])
    stage.restart()
    stage.end(0)
    return "cut off; nothing else was lost"


@scene("a checkpoint cut off, of a worker that dies")
def torn_checkpoint(stage: Stage) -> str:
    stage.start()
    victim = stage.midway()
    os.kill(victim.pid or 0, signal.SIGSTOP)
    stage.strike()
    folder = stage.study / NAME / str(victim.number)
    os.truncate(folder / "checkpoints/last.ckpt", 1000)
    os.killpg(victim.pid or 0, signal.SIGKILL)
    stage.end(0)
    if "begins anew" not in (folder / "output.txt").read_text(encoding="utf-8"):
        raise Broken("its output does not say that it began anew")
    return "the trial began anew, and its output says so"


@scene("a sweep file cut off")
def torn_sweep_file(stage: Stage) -> str:
    whole, cut = stage.folder / "whole.yaml", stage.folder / "cut.yaml"
    stage.start()
    stage.midway(0)
    stage.kill_all()
    shutil.move(stage.study / f"{NAME}.yaml", whole)
    shutil.rmtree(stage.runs)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    stage.forget()
    stage.start(f"search.sweep={cut}", model=False)
    stage.end(2)
    said = stage.printed().strip().splitlines()
    if stage.study.exists() or not said[0].startswith("error:"):
        raise Broken(f"it ran, or said {said[0]}")
    stage.strike()
    stage.start(f"search.sweep={whole}", model=False)
    stage.end(0)
    return f"code 2, “{said[0]}”, and nothing was begun; the whole file ran"


def _server(stage: Stage) -> Server:
    """A PostgreSQL server that is the stage's ledger, and writes down what is given a result."""
    if programs() is None:
        raise NotRun("PostgreSQL is not installed")
    try:
        import psycopg
    except ImportError:
        raise NotRun("psycopg is not installed") from None
    folder = stage.folder / "database"
    folder.mkdir()
    server = Server(folder)
    stage.open.callback(server.stop)
    stage.storage = server.database("faults")
    stage.trials()  # makes the tables
    with psycopg.connect(stage.storage) as connection:
        connection.execute(HISTORY)
    return server


@scene("PostgreSQL restarted")
def postgres_restart(stage: Stage) -> str:
    server = _server(stage)
    stage.start()
    stage.midway()
    stage.strike()
    server.stop()
    time.sleep(3)
    server.start()
    stage.end(0)
    return "away for 3 s; all waited, then went on"


@scene("kill -9 of PostgreSQL")
def postgres_kill(stage: Stage) -> str:
    server = _server(stage)
    stage.start()
    stage.midway()
    stage.strike()
    server.stop(signal.SIGKILL)
    time.sleep(3)
    until = time.monotonic() + 20
    while True:
        try:
            server.start()
            break
        except subprocess.CalledProcessError:  # its processes have not all noticed yet
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
    stage.end(0)
    return "away for 3 s; all waited, then went on"


def _jump(stage: Stage, hours: int) -> str:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise NotRun("no C compiler for fault_clock.c")
    library, ahead = stage.folder / "clock.so", stage.folder / "ahead"
    source = ROOT / "benchmarks/fault_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    ahead.write_bytes(bytes(8))
    stage.environment |= {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(ahead)}
    stage.start()
    stage.midway()
    stage.strike()
    with ahead.open("rb+") as file:  # in place: the processes have it mapped
        file.write((3600 * hours).to_bytes(8, sys.byteorder, signed=True))
    stage.end(0)
    ended = re.findall(r'"datetime_complete":"([^"]+)"', stage.journal.read_text(encoding="utf-8"))
    off = [abs(datetime.fromisoformat(end).timestamp() - time.time()) for end in ended]
    if max(off) < 1800 * abs(hours):
        raise Broken("no trial saw another time")
    return f"{hours:+d} h for all of its processes (by a preloaded library)"


@scene("a clock that jumps ahead")
def clock_ahead(stage: Stage) -> str:
    return _jump(stage, 30)


@scene("a clock that jumps back")
def clock_back(stage: Stage) -> str:
    return _jump(stage, -30)
