"""A real PostgreSQL server on loopback, in a temporary folder, for as long as a test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; Debian keeps them off the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


class Server:
    """Databases at `postgresql://caviar@127.0.0.1:PORT/…`, until `stop()`."""

    def __init__(self, folder: Path) -> None:
        found = programs()
        assert found is not None
        self.programs, self.folder = found, folder / "data"
        # PostgreSQL refuses to run as root.
        self._as = {"user": pwd.getpwnam("postgres").pw_uid} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(folder, "postgres")
            for above in folder.parents:  # pytest keeps its folders to itself
                if above.stat().st_uid == 0 and not above.stat().st_mode & 0o001:
                    above.chmod(above.stat().st_mode | 0o011)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "-D", str(self.folder), "-U", "caviar", "--auth=trust", "-N")
        self.start()

    def database(self, name: str) -> str:
        """Make a database; its URL."""
        address = f"postgresql://caviar@127.0.0.1:{self.port}"
        with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return f"{address}/{name}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -F"
        self._run("pg_ctl", "-D", str(self.folder), "-l", f"{self.folder}/log", "-w",
                  "-o", options, "start")  # fmt: skip

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """End it at once, whoever is connected; SIGKILL is a machine that loses its power."""
        try:
            postmaster = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
            os.kill(postmaster, number)
        except (FileNotFoundError, ProcessLookupError):  # it has ended already
            return
        until = time.monotonic() + 60
        while Path(f"/proc/{postmaster}").exists():
            assert time.monotonic() < until
            time.sleep(0.05)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.programs / program, *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # pg_ctl speaks of a server that was killed before
            cwd="/",
            **self._as,
        )
