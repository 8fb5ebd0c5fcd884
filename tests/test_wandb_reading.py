"""What is made of a sweep's runs, and whether a sweep is still the one that was registered."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from caviar.errors import UserError
from caviar.ledger.registered import (
    RECORD,
    Registered,
    digest,
    find_registered,
    read_registered,
    write_registered,
)
from caviar.ledger.trials import Trial
from caviar.ledger.wandb_runs import WandbRun, trials_of
from caviar.overrides import point_overrides
from caviar.result import MARKER, RESULT
from caviar.space import Axis, Choice, Integer, Log, LogInteger, OneMinusLog, Space
from caviar.space.sweep_file import SweepFile
from caviar.sweeps.child import POINT_FILE, complete_overrides, refuse_undeclared, started_by_agent
from caviar.sweeps.child import RUN as RUN_ID
from caviar.sweeps.child import SWEEP as SWEEP_ID
from caviar.sweeps.compare import refuse_changed_sweep
from conftest import ROOT
from wandb_standin.law import draw

SPACE = Space(
    (
        Axis("optimizer.lr", Log(1e-4, 1.0)),
        Axis("optimizer.momentum", OneMinusLog(1e-3, 0.1)),
        Axis("model.width", Integer(16, 128)),
        Axis("model.act", Choice(("relu", "gelu"))),
    )
)
SWEEP = SweepFile("s", "01_coarse", SPACE, 20, "val/loss", "min")
POINT = {
    "optimizer.lr": 0.01,
    "one_minus.optimizer.momentum": 0.02,
    "model.width": 64.0,  # JSON knows no whole numbers
    "model.act": "relu",
}


def run(name: str = "a", state: str = "finished", **told: Any) -> WandbRun:
    """A run whose summary is `told`, with its point in the config."""
    summary = {key.replace("__", "/"): value for key, value in told.items()}
    config = {**POINT, "seed": 7, "trainer": {"max_epochs": 9}}
    return WandbRun(name, f"run-{name}", state, "2026-01-01T00:00:00", config, summary)


def marked(status: str, state: str = "finished", **values: Any) -> WandbRun:
    told = {MARKER: status, RESULT: json.dumps({"status": status, **values})}
    return run(state=state, **told)


def trial(of: WandbRun) -> Trial:
    (found,) = trials_of("01_coarse", SWEEP, [of])
    return found


def test_a_complete_run_is_a_trial_in_search_coordinates() -> None:
    found = trial(marked("complete", best=0.5, best_epoch=1, curve=[[0, 0.7], [1, 0.5]], seed=7))
    assert found.status == "complete"
    assert found.point == {**POINT, "model.width": 64}
    assert isinstance(found.point["model.width"], int)
    assert (found.result.best, found.seed) == (0.5, 7)  # type: ignore[union-attr]
    assert found.curve == {0: 0.7, 1: 0.5}
    assert found.claim["epochs"] == 9


@pytest.mark.parametrize("state", ["running", "pending", "preempting"])
def test_a_run_that_is_alive_has_no_result(state: str) -> None:
    found = trial(run(state=state, val__loss=0.7, epoch=3))
    assert found.running
    assert found.curve == {3: 0.7}


@pytest.mark.parametrize(
    ("of", "status", "said"),
    [
        (run(), "exception", "W&B calls it finished, but it lacks the completion marker"),
        (run(val__loss_best=0.1), "exception", "lacks the completion marker"),
        (run(state="failed"), "exception", "W&B calls it failed"),
        (run(state="crashed"), "killed", "W&B calls it crashed"),
        (run(state="killed"), "killed", "W&B calls it killed"),
        (marked("exception", "failed", error="ValueError: no"), "exception", "ValueError: no"),
        (marked("killed", "failed", error="killed by SIGTERM"), "killed", "by SIGTERM"),
        (marked("diverged"), "diverged", None),
        (marked("complete"), "exception", "complete, but val/loss_best is missing"),
        (run(**{MARKER: "complete", RESULT: "{torn"}), "exception", "lacks the completion"),
        (run(**{MARKER: "complete", RESULT: 7}), "exception", "lacks the completion"),
    ],
)
def test_no_run_is_dropped(of: WandbRun, status: str, said: str | None) -> None:
    found = trial(of)
    assert found.result is not None
    assert found.status == status
    assert (said or "") in (found.result.error or "")
    assert math.isnan(found.result.loss("min")) == found.result.failed


@pytest.mark.parametrize(
    ("value", "status"), [("NaN", "diverged"), ("Infinity", "diverged"), (0.25, "complete")]
)
def test_numbers_that_are_text(value: Any, status: str) -> None:
    told = {MARKER: "complete", RESULT: '{"status": "complete"}', "val/loss_best": value}
    assert trial(run(**told)).status == status


def test_a_value_without_its_setting_teaches_nothing() -> None:
    lost = marked("complete", best=0.5)
    lost.config.pop("optimizer.lr")  # type: ignore[attr-defined]
    found = trial(lost)
    assert found.status == "exception"
    assert found.result.error == "its config lacks optimizer.lr"  # type: ignore[union-attr]


def test_a_choice_is_the_declared_value_again() -> None:
    """JSON writes 1.0 as 1, and a choice tells them apart."""
    space = Space((Axis("trainer.gradient_clip_val", Choice((None, 0.5, 1.0))),))
    sweep = SweepFile("s", "01", space, 9, "val/loss", "min")
    for written, meant in ((1, 1.0), (0.5, 0.5), (None, None)):
        config = {"trainer.gradient_clip_val": written}
        (found,) = trials_of("01", sweep, [WandbRun("a", "a", "running", "", config, {})])
        assert found.point == {"trainer.gradient_clip_val": meant}
        assert isinstance(found.point["trainer.gradient_clip_val"], type(meant))
    (lost,) = trials_of("01", sweep, [WandbRun("a", "a", "running", "", {"x": True}, {})])
    assert lost.point == {}


def test_a_run_that_was_never_heard_of_does_not_run_for_ever() -> None:
    given_out = run(state="pending")
    (alive,) = trials_of("01_coarse", SWEEP, [given_out])
    (dead,) = trials_of("01_coarse", SWEEP, [given_out], over=True)
    assert (alive.status, dead.status) == ("running", "killed")


@pytest.mark.usefixtures("hydra_state")
def test_the_point_is_written_as_hydra_reads_it(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = (Axis("model.a", Choice((None, 0.5))), Axis("model.b", Choice(("10", "true", "a,b"))))
    sweep = SweepFile("s", "01", Space(axes), 9, "val/loss", "min")
    write_registered(runs / "s", registered(sweep=sweep.text()))
    given = agent_run(monkeypatch, tmp_path, **{"model.a": None, "model.b": "10"})
    assert given == ["model.a=None", "model.b=10"]  # as the agent writes them
    assert complete_overrides(given)[:2] == ["model.a=null", "model.b='10'"]


def test_runs_are_numbered_by_age() -> None:
    ages = {"b": "2026-01-02", "a": "2026-01-03", "c": "2026-01-01"}
    runs = [WandbRun(n, n, "running", day, POINT, {}) for n, day in ages.items()]
    found = trials_of("01_coarse", SWEEP, runs)
    assert [(t.number, t.claim["run"]) for t in found] == [(0, "c"), (1, "b"), (2, "a")]


# -- what a sweep may set


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model._target_", "os.system"),
        ("hydra.run.dir", "/tmp"),
        ("+callbacks.mine._target_", "os.system"),
        ("optimizer.momentum", 0.9),  # its coordinate is the complement
        ("optimizer.lr", "${oc.env:HOME}"),
        ("optimizer.lr", True),
        ("model.act", "tanh"),
    ],
)
def test_what_the_space_does_not_declare_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"sweep abc sets {name.replace('+', '.')}"):
        refuse_undeclared({**POINT, name: value}, SPACE, "abc", None)


def test_what_the_space_declares_may_be_set() -> None:
    refuse_undeclared(POINT, SPACE, "abc", None)
    refuse_undeclared({**POINT, "optimizer.lr": 30.0}, SPACE, "abc", None)  # a range that has grown


def agent_run(monkeypatch: pytest.MonkeyPatch, folder: Path, **point: Any) -> list[str]:
    """Let it seem that a W&B agent started this process; the point as it is on the command line."""
    file = folder / "config-run.yaml"
    kept = {"wandb_version": 1, **{k: {"desc": None, "value": v} for k, v in point.items()}}
    file.write_text(yaml.safe_dump(kept))
    for name, value in ((SWEEP_ID, "abc"), (RUN_ID, "1x2y"), (POINT_FILE, str(file))):
        monkeypatch.setenv(name, value)
    assert started_by_agent()
    return [f"{name}={value}" for name, value in point.items()]


@pytest.mark.usefixtures("hydra_state")
def test_a_run_is_completed_with_what_a_trial_has(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_registered(runs / "s", registered())
    point = agent_run(monkeypatch, tmp_path, **POINT)
    completed = complete_overrides(["trainer.max_epochs=2", *point])
    assert completed[0] == "trainer.max_epochs=2"
    assert sorted(completed[1:5]) == sorted(point_overrides(POINT))
    assert completed[5] == "logger=wandb"
    assert f"hydra.run.dir='{runs}/s/01_coarse/1x2y'" in completed
    seeds = [o for o in completed if o.startswith("seed=")]
    monkeypatch.setenv(RUN_ID, "1x2z")
    assert seeds != [o for o in complete_overrides(point) if o.startswith("seed=")]
    assert "logger=none" in complete_overrides(["logger=none", *point])
    assert "logger=wandb" not in complete_overrides(["logger=none", *point])
    monkeypatch.setenv("LOCAL_RANK", "1")  # the other ranks are given all that
    assert not started_by_agent()


@pytest.mark.usefixtures("hydra_state")
def test_without_a_record_the_space_of_the_command_decides(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = agent_run(monkeypatch, tmp_path, **{"optimizer.lr": 0.1, "model.dropout": 0.2})
    own = ["~space.data", "+space.model.dropout=${linear:0,0.5}"]
    assert f"hydra.run.dir='{runs}/wandb/abc/1x2y'" in complete_overrides([*own, *point])
    with pytest.raises(UserError, match=r"sets model\.dropout, which the space of its command"):
        complete_overrides(point)
    with pytest.raises(UserError, match="its command has -m"):
        complete_overrides(["-m", *own, *point])


# -- what was registered


def registered(**facts: Any) -> Registered:
    facts = {"sweep": SWEEP.text(), **facts}
    return Registered("01_coarse", "me", "p", "abc", digest(facts["sweep"]), "2026-01-01", facts)


def test_a_record_is_found_by_its_sweep(runs: Path) -> None:
    write_registered(runs / "s", registered())
    assert read_registered(runs / "s") == {"01_coarse": registered()}
    assert find_registered("abc") == ("s", registered())
    assert find_registered("abd") is None
    assert registered().sweep == SWEEP


@pytest.mark.parametrize(
    ("old", "new"), [('"entity"', '"entit"'), ("{", ""), ("log_uniform_values", "uniform")]
)
def test_a_damaged_record_is_a_clear_message(runs: Path, old: str, new: str) -> None:
    write_registered(runs / "s", registered())
    path = runs / "s" / RECORD
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=r"sweeps\.json"):
        read_registered(runs / "s")


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("program", "-c__import__('os')", "+program: -c__import__"),
        ("command", ["/bin/sh"], "+command: /bin/sh"),
        ("command", None, "+command: None"),
        ("parameters", {"seed": {"value": 1}}, "+parameters: seed"),
    ],
)
def test_a_changed_sweep_is_refused_with_the_difference(key: str, value: Any, shown: str) -> None:
    document = {**yaml.safe_load(SWEEP.text()), key: value}
    with pytest.raises(UserError) as refused:
        refuse_changed_sweep(registered(), document)
    assert shown in str(refused.value)


def test_other_changes_are_told() -> None:
    document = yaml.safe_load(SWEEP.text())
    assert refuse_changed_sweep(registered(), {**document, "name": "mine", "more": 1}) == ""
    document["parameters"]["optimizer.lr"]["max"] = 10.0
    told = refuse_changed_sweep(registered(), document)
    assert "-parameters.optimizer.lr.max: 1.0" in told
    assert "+parameters.optimizer.lr.max: 10.0" in told


# -- how a sweep draws


def drawn(parameters: dict[str, Any], count: int) -> dict[str, list[Any]]:
    rng = random.Random(0)
    points = [draw(parameters, rng) for _ in range(count)]
    return {name: [point[name] for point in points] for name in parameters}


def test_half_of_the_momenta_exceed_0_99() -> None:
    text = (ROOT / "sweeps/digits/01_coarse.yaml").read_text()
    columns = drawn(yaml.safe_load(text)["parameters"], 10_000)
    beta = 1 - np.array(columns["one_minus.optimizer.momentum"])
    assert np.mean(beta > 0.99) == pytest.approx(0.5, abs=0.015)  # 3 standard errors
    assert np.mean(np.array(columns["optimizer.lr"]) > 0.1) == pytest.approx(0.25, abs=0.013)


def test_a_sweep_draws_by_the_laws_of_the_scales() -> None:
    """The same share of draws below any value, as our own sampler has; whole numbers stay whole."""
    space = Space((*SPACE.axes[:3], Axis("model.channels", LogInteger(4, 64))))
    text = SweepFile("s", "01", space, 1, "val/loss", "min").text()
    theirs = drawn(yaml.safe_load(text)["parameters"], 20_000)
    ours = space.draw(0, "01", 20_000)
    for name in space.names:
        for q in (0.1, 0.3, 0.5, 0.8):
            bound = np.quantile(ours[name], q)
            shares = [np.mean(np.asarray(column) <= bound) for column in (theirs[name], ours[name])]
            assert shares[0] == pytest.approx(shares[1], abs=0.02), name
    assert all(isinstance(v, int) for n in ("model.width", "model.channels") for v in theirs[n])
