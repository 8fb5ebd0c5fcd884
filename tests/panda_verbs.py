"""The verbs of a panda inside the test's own process, and what a run has left in its folder.

A verb in a process of its own takes seconds to import what this one has long since. Only what is to
be interrupted, or goes back (which begins a new process in the place of the old), needs one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from caviar.panda.journal import DAY, Event, Journal
from caviar.panda.record import rows

SLOW = "model._target_=slow_models.Slow"
DIVERGES = ("model._target_=slow_models.DivergesLater", "scheduler=none")


class Verb:
    """`verb("set", "optimizer.lr=*2")`: what `caviar panda set …` printed.

    Arguments:
        monkeypatch: puts `sys.argv` back.
        capsys: hears what is printed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.setattr(os, "execve", _refuse_to_go_back)

    def __call__(self, name: str, *arguments: str, code: int = 0, study: str = "p") -> str:
        from caviar.cli import main

        GlobalHydra.instance().clear()
        command = ["caviar", "panda", name, *arguments, f"search.study={study}"]
        self.monkeypatch.setattr(sys, "argv", command)
        self.capsys.readouterr()
        exit_code = 0
        try:
            main()
        except SystemExit as left:
            exit_code = int(left.code or 0)
        printed = "".join(self.capsys.readouterr())
        assert exit_code == code, printed
        return printed


def _refuse_to_go_back(*_: object) -> None:
    raise AssertionError("the run went back; in this process its tests would end with it")


def events(runs: Path, kind: str | None = None, study: str = "p") -> list[Event]:
    """Of a study's journal, all or those of a kind."""
    return [e for e in Journal(runs / study).events() if kind in (None, e.kind)]


def days(runs: Path, branch: int = 0) -> int:
    """Days that a branch has ended."""
    return max((e.day for e in events(runs, DAY) if e.branch == branch), default=0)


def logged(folder: Path, branch: int = 0) -> list[dict[str, Any]]:
    """All that a branch logged, without the time."""
    kept = [row for row in rows(folder) if row["branch"] == branch]
    return [{k: v for k, v in row.items() if k != "time"} for row in kept]
