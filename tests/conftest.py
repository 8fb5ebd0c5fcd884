"""Shared fixtures: a scratch `runs/`, train.py inside this process, and real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.version import VersionBase
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from browser import Opened
    from caviar.ledger import Trial
    from panda_verbs import Verb
    from wandb_standin import Service

# How long a draw takes says something of the machine alone.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

ROOT = Path(__file__).resolve().parents[1]
FAST = ["trainer.max_epochs=2", "callbacks=none", "logger=none"]


def refuse_process(*args: object, **kwargs: object) -> None:
    """Stand in the place of whatever starts a process."""
    pytest.fail("this test starts a process: mark it slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Keep what `make test-fast` promises: no test in it, nor its fixtures, starts a process."""
    if item.get_closest_marker("slow") or item.get_closest_marker("nightly"):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", refuse_process)
        patch.setattr(BaseProcess, "start", refuse_process)
        for starter in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
            patch.setattr(os, starter, refuse_process)
        return (yield)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of `runs/`, for this process and those that it starts."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("CAVIAR_RUNS", str(folder))
    monkeypatch.setenv("CAVIAR_ROOT", str(ROOT))
    # Our broken models, in processes too.
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"), prepend=os.pathsep)
    # A test that sets the seed leaves these behind for the next one.
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return folder


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """No run that this process has seen end, in whatever way, leaves a handler of its own."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    assert after == before


UNTOLD = VersionBase.instance().version_base


@pytest.fixture(autouse=True)
def hydra_version() -> Iterator[None]:
    """Which version's behaviour Hydra shows is a global, which our application sets and Hydra's own
    suites expect to be unset; also where a wider fixture has set it."""
    yield
    VersionBase.instance().version_base = UNTOLD


@pytest.fixture
def hydra_state() -> Iterator[None]:
    """Hydra keeps its state in globals; leave them as they were."""
    before = Singleton.get_state()
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
    Singleton.set_state(before)


@pytest.fixture
def panda(
    runs: Path,
    hydra_state: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Verb:
    """`panda("set", "optimizer.lr=*2")`: the verbs of `caviar panda`, in this process."""
    from panda_verbs import Verb

    return Verb(monkeypatch, capsys)


Main = Callable[..., int]


@pytest.fixture
def main(runs: Path, hydra_state: None, monkeypatch: pytest.MonkeyPatch) -> Main:
    """`main("-m", "search.num_trials=3")`: train.py inside this process; its exit code."""
    from caviar.app import main as entry

    monkeypatch.setattr(sys, "argv", list(sys.argv))

    def call(*arguments: str) -> int:
        GlobalHydra.instance().clear()
        try:
            entry(arguments)
        except SystemExit as left:
            return int(left.code or 0)
        return 0

    return call


@pytest.fixture
def caviar(runs: Path, hydra_state: None, monkeypatch: pytest.MonkeyPatch) -> Main:
    """`caviar("refine", "search.study=s")`: the command inside this process; its exit code."""
    from caviar.cli import main as entry

    def call(*arguments: str) -> int:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["caviar", *arguments])
        try:
            entry()
        except SystemExit as left:
            return int(left.code or 0)
        return 0

    return call


class Process:
    """One process of ours, in a group of its own, that never outlives its test."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait(self, timeout: float = 120) -> str:
        """Wait for its end; everything it printed."""
        return self.popen.communicate(timeout=timeout)[0]

    def wait_for_line(self, text: str) -> str:
        """Read until a line holds `text`; what was read."""
        assert self.popen.stdout is not None
        read = ""
        for line in self.popen.stdout:
            read += line
            if text in line:
                return read
        raise AssertionError(f"{text!r} was not printed; all it said:\n{read}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its whole group, as a terminal does."""
        os.killpg(self.popen.pid, number)

    @property
    def code(self) -> int | None:
        return self.popen.returncode


Start = Callable[..., Process]
T = TypeVar("T")


def without_make() -> dict[str, str]:
    """The environment as it is outside of `make test`, and of other projects."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("CAVIAR_", "MAKE", "MFLAGS"))}


def awaited(condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait until a condition holds that no other process announces."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def meanwhile(disturb: Callable[[], T]) -> Iterator[Future[T]]:
    """While the main thread runs a stage, something happens to its processes."""
    with ThreadPoolExecutor(1) as others:
        happening = others.submit(disturb)
        yield happening
    happening.result()  # raises what it raised


def done(process: Process, code: int = 0, timeout: float = 150) -> str:
    """What a process printed, once it has ended as it should."""
    printed = process.wait(timeout)
    assert process.code == code, printed
    return printed


def trials(runs: Path, stage: str = "01_coarse", study: str = "s") -> list[Trial]:
    """The trials of a stage, as the ledger in the study's folder has them."""
    from caviar.ledger import Ledger

    return Ledger.open(str(runs / study / "study.journal"), study).trials(stage)


@pytest.fixture
def start(runs: Path) -> Iterator[Start]:
    """`start("train.py", "-m", …)` or `start("caviar", "status")`: a real process."""
    started: list[Process] = []

    def call(program: str, *arguments: str, **environment: str) -> Process:
        command = [sys.executable, program]
        if program == "caviar":
            command = [sys.executable, "-c", "from caviar.cli import main; main()"]
        process = Process([*command, *arguments], {**os.environ, **environment})
        started.append(process)
        return process

    yield call
    for process in started:
        if process.popen.poll() is None:
            process.send(signal.SIGKILL)
        process.popen.communicate()


@pytest.fixture
def service(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A stand-in for W&B, where this process and those that it starts find it."""
    from wandb_standin import Service

    with Service(tmp_path / "service", crash_after=6) as standin:
        for name, value in standin.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("WANDB_DIR", str(tmp_path))
        faster = f"{ROOT / 'tests'}{os.pathsep}{ROOT / 'tests/fast_agent'}"
        monkeypatch.setenv("PYTHONPATH", faster)
        # The agent starts `python`.
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        yield standin
        assert not standin.unknown  # else the client asks for what the stand-in does not know


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser, for all tests of a file."""
    pytest.importorskip("playwright")
    from browser import chromium_browser

    with chromium_browser() as browser:
        yield browser


@pytest.fixture
def show(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Open a page in it."""
    from browser import Opened

    opened: list[Opened] = []

    def call(path: Path, **how: Any) -> Opened:
        opened.append(Opened(chromium, path, **how))
        return opened[-1]

    yield call
    for one in opened:
        one.context.close()
