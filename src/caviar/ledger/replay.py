"""A journal, replayed: what it says of every try of every trial, a column a fact.

Lines have the meaning that Optuna gives them. What is asked of all trials at once, such as how far
a stage is, stands in columns of numbers. What is asked of one trial, such as its setting, stays in
the file, and the columns hold where: each try has a chain of the lines that told of it, the latest
first. So a journal of a hundred thousand trials takes some megabytes, and a column is copied to and
from a snapshot as it is.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, FAULTS, PRUNED
from caviar.ledger import operations as ops
from caviar.ledger.tries import NUMBER, Try

NONE = -1  # no line, no point, no result
ENDS = [COMPLETE, DIVERGED, PRUNED, *FAULTS]  # what a result's status may be

# The columns: of tries, of lines that told of one, and of points of curves; with array's codes.
COLUMNS = {
    "study": "i",
    "number": "i",  # of the trial within its stage; the same of its later tries
    "state": "b",
    "end": "b",  # its result's status, by position in `ends`
    "best": "d",  # its result's; NaN for None
    "seconds": "d",  # its result's
    "started": "d",  # since 1970; NaN before
    "faults": "i",  # of earlier tries, how many
    "code": "i",  # its worker's, by position in `versions`
    "made_at": "q",  # where the line is that made it
    "told": "i",  # the last line about it, by position in the columns of lines
    "curve": "i",  # the last point of its curve, by position in the columns of points
    "line_at": "q",
    "line_before": "i",
    "point": "q",
    "point_value": "d",
    "point_before": "i",
}
OF_LINES = ("line_at", "line_before")
OF_POINTS = ("point", "point_value", "point_before")
OF_TRIES = tuple(name for name in COLUMNS if name not in OF_LINES + OF_POINTS)


@dataclass
class Stage:
    """One Optuna study."""

    name: str
    mode: str
    attributes: dict[str, Any] = field(default_factory=dict)
    latest: array[int] = field(default_factory=lambda: array("i"))
    """By the trials' numbers, the latest try of each."""


class Replay:
    """What the lines so far come to."""

    def __init__(self) -> None:
        self.stages: dict[int, Stage] = {}
        self.made = 0  # stages, those that were deleted among them
        self.ends = [*ENDS]
        self.versions: list[str] = []  # of the code, by their hashes
        self.columns: dict[str, array[Any]] = {n: array(code) for n, code in COLUMNS.items()}
        self.touched: array[int] = array("i")  # tries, once for each line, since this was opened

    def apply(self, line: bytes, at: int) -> None:
        """Let the next line take effect.

        Arguments:
            line: a JSON object.
            at: its first byte in the file.

        Raises:
            ValueError: it is none.
        """
        operation = json.loads(line)
        kind = operation["op_code"]
        if kind == ops.CREATE_STUDY:
            self._create_study(operation)
        elif kind == ops.DELETE_STUDY:
            self.stages.pop(operation["study_id"], None)
        elif kind == ops.SET_STUDY_ATTRIBUTE:
            if stage := self.stages.get(operation["study_id"]):
                stage.attributes |= operation["user_attr"]
        elif kind == ops.CREATE_TRIAL:
            self._create_trial(operation, at)
        elif kind in (ops.SET_STATE, ops.SET_POINT, ops.SET_ATTRIBUTE):
            self._change(kind, operation, at)
        # Others are about what only Optuna's own tools look at.

    def _create_study(self, operation: Mapping[str, Any]) -> None:
        name = operation["study_name"]
        if any(stage.name == name for stage in self.stages.values()):
            return
        mode = "min" if operation["directions"] == [ops.MINIMIZE] else "max"
        self.stages[self.made] = Stage(name, mode)
        self.made += 1

    def _create_trial(self, operation: Mapping[str, Any], at: int) -> None:
        stage = self.stages.get(operation["study_id"])
        if stage is None:
            return
        columns, attributes = self.columns, operation.get("user_attrs", {})
        trial, number = len(columns["state"]), attributes.get(NUMBER)
        if number is None:
            number = len(stage.latest)
            stage.latest.append(trial)
        else:
            stage.latest[number] = trial
        row = {
            "study": operation["study_id"],
            "number": number,
            "state": operation.get("state", ops.RUNNING),
            "end": NONE,
            "best": math.nan,
            "seconds": 0.0,
            "started": _seconds(operation["datetime_start"]),
            "faults": 0,
            "code": NONE,
            "made_at": at,
            "told": NONE,
            "curve": NONE,
        }
        for name, value in row.items():
            columns[name].append(value)
        self._note(trial, attributes)
        self.touched.append(trial)

    def _change(self, kind: int, operation: Mapping[str, Any], at: int) -> None:
        trial, columns = operation["trial_id"], self.columns
        states = columns["state"]
        # Optuna's rule: what has finished is never changed.
        if not 0 <= trial < len(states) or states[trial] in ops.FINISHED:
            return
        if kind == ops.SET_STATE:
            state = operation["state"]
            if state == states[trial] == ops.RUNNING:
                return
            if state == ops.RUNNING:
                columns["started"][trial] = _seconds(operation["datetime_start"])
            states[trial] = state
        elif kind == ops.SET_POINT:
            columns["point"].append(operation["step"])
            columns["point_value"].append(operation["intermediate_value"])
            columns["point_before"].append(columns["curve"][trial])
            columns["curve"][trial] = len(columns["point"]) - 1
        else:
            columns["line_at"].append(at)
            columns["line_before"].append(columns["told"][trial])
            columns["told"][trial] = len(columns["line_at"]) - 1
            self._note(trial, operation["user_attr"])
        self.touched.append(trial)

    def _note(self, trial: int, attributes: Mapping[str, Any]) -> None:
        """What the columns hold of a try's attributes."""
        if result := attributes.get("result"):
            status, best = result.get("status", COMPLETE), result.get("best")
            if status not in self.ends:
                self.ends.append(status)
            self.columns["end"][trial] = self.ends.index(status)
            self.columns["best"][trial] = math.nan if best is None else best
            self.columns["seconds"][trial] = result.get("seconds") or 0.0
        if code := attributes.get("claim", {}).get("code"):
            if code not in self.versions:
                self.versions.append(code)
            self.columns["code"][trial] = self.versions.index(code)
        if "faults" in attributes:
            self.columns["faults"][trial] = len(attributes["faults"])

    # -- of one try

    def read(self, trial: int, line: Callable[[int], bytes]) -> Try:
        """All of a try.

        Arguments:
            trial: which.
            line: gives the line of the file that begins at a byte.
        """
        columns = self.columns
        made = json.loads(line(columns["made_at"][trial]))
        attributes = dict(made.get("user_attrs", {}))
        for at in reversed(self._chain(columns["told"][trial], "line_at", "line_before")):
            attributes |= json.loads(line(at))["user_attr"]
        curve = {int(k): v for k, v in made.get("intermediate_values", {}).items()}
        points = self._chain(columns["curve"][trial], "point", "point_before")
        values = self._chain(columns["curve"][trial], "point_value", "point_before")
        curve |= zip(reversed(points), reversed(values), strict=True)
        started = columns["started"][trial]
        return Try(
            id=trial,
            number=columns["number"][trial],
            state=columns["state"][trial],
            attributes=attributes,
            curve=curve,
            started=None if math.isnan(started) else datetime.fromtimestamp(started),
            params=made.get("params", {}),
            distributions=made.get("distributions", {}),
        )

    def _chain(self, last: int, values: str, before: str) -> list[Any]:
        """The values of a chain, the last one first."""
        found, column, links = [], self.columns[values], self.columns[before]
        while last != NONE:
            found.append(column[last])
            last = links[last]
        return found

    def status(self, trial: int) -> str:
        """`waiting`, `running`, or what its result says."""
        state = self.columns["state"][trial]
        if state in ops.FINISHED:
            end = self.columns["end"][trial]
            return EXCEPTION if end == NONE else self.ends[end]
        return "running" if state == ops.RUNNING else "waiting"


def _seconds(moment: str | None) -> float:
    return math.nan if moment is None else datetime.fromisoformat(moment).timestamp()
