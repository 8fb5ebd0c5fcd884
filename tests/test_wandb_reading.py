"""What is made of a sweep's runs, of the client's troubles, and how a sweep draws."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from wandb.errors import CommError

from caviar.base.errors import SearchFailed, UserError
from caviar.base.result import MARKER, RESULT
from caviar.ledger.trials import Trial
from caviar.space import Axis, Choice, LogInteger, Space
from caviar.space.sweep_file import SweepFile
from caviar.wandb.client import clear_errors
from caviar.wandb.runs import WandbRun, trials_of
from conftest import ROOT
from wandb_standin.law import draw
from wandb_study import POINT, SPACE, SWEEP


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


def result_json(**fields: Any) -> dict[str, Any]:
    """A summary with a marker, as `finish_wandb` writes it, but for `fields`."""
    whole = {"status": "complete", "best": 0.5, "curve": [[0, 0.5]]}
    return {MARKER: "complete", RESULT: json.dumps({**whole, **fields})}


ENDLESS = 10**400  # JSON's whole numbers may have any length


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"created": None}, "complete"),
        ({"created": "yesterday"}, "complete"),
        ({"created": 7}, "complete"),
        ({"created": "2026-01-01T00:00:00+02:00"}, "complete"),
        ({"label": None}, "complete"),
        ({"state": None}, "complete"),
        ({"state": "a state of next year", "summary": {}}, "exception"),
        ({"summary": None}, "exception"),
        ({"summary": [1]}, "exception"),
        ({"summary": {MARKER: "complete"}}, "exception"),
        ({"summary": {MARKER: "complete", RESULT: "[]"}}, "exception"),
        ({"summary": {MARKER: "complete", RESULT: "null"}}, "exception"),
        ({"summary": {MARKER: "complete", RESULT: "{}"}}, "exception"),
        ({"summary": result_json(status="of a newer version")}, "exception"),
        ({"summary": result_json(status=["complete"])}, "exception"),
        ({"summary": result_json(best="0.5")}, "exception"),
        ({"summary": result_json(best=math.nan)}, "diverged"),
        ({"summary": result_json(best=ENDLESS)}, "diverged"),
        ({"summary": result_json(best_epoch=[1])}, "exception"),
        ({"summary": result_json(seconds=None)}, "exception"),
        ({"summary": result_json(metrics=[1])}, "exception"),
        ({"summary": result_json(error={})}, "exception"),
        ({"summary": result_json(curve=7)}, "exception"),
        ({"summary": result_json(curve=[[0]])}, "exception"),
        ({"summary": result_json(curve=[["last", 0.5]])}, "exception"),
        ({"summary": result_json(curve=[[math.inf, 0.5]])}, "exception"),
        ({"summary": result_json(unheard_of=1)}, "complete"),
        ({"summary": {"epoch": "NaN", "val/loss": 1}, "state": "running"}, "running"),
        ({"summary": {"epoch": "Infinity", "val/loss": 1}, "state": "running"}, "running"),
        ({"summary": {"epoch": ENDLESS, "val/loss": 1}, "state": "running"}, "running"),
        ({"summary": {"epoch": 1, "val/loss": {"min": 1}}, "state": "running"}, "running"),
        ({"config": None}, "exception"),
        ({"config": []}, "exception"),
        ({"config": {**POINT, "optimizer.lr": "NaN"}}, "exception"),
        ({"config": {**POINT, "optimizer.lr": math.inf}}, "exception"),
        ({"config": {**POINT, "optimizer.lr": ENDLESS}}, "exception"),
        ({"config": {**POINT, "optimizer.lr": {"value": 0.1}}}, "exception"),
        ({"config": {**POINT, "optimizer.lr": 1}}, "complete"),
        ({"config": {**POINT, "model.width": 64.5}}, "exception"),
        ({"config": {**POINT, "model.width": "Infinity"}}, "exception"),
        ({"config": {**POINT, "model.act": ["relu"]}}, "exception"),
        ({"config": {**POINT, "seed": "mine"}}, "complete"),
        ({"config": {**POINT, "seed": ENDLESS}}, "complete"),
        ({"config": {**POINT, "trainer": 3}}, "complete"),
        ({"config": {**POINT, "trainer": {"max_epochs": "many"}}}, "complete"),
        ({"config": {**POINT, "trainer": {"max_epochs": -1}}}, "complete"),
    ],
)
def test_what_others_wrote_into_a_run_never_hides_the_rest(
    change: dict[str, Any], status: str
) -> None:
    whole = WandbRun("a", "a", "finished", "2026-01-02T00:00:00Z", POINT, result_json())
    neighbour = replace(whole, name="b", created="2026-01-01T00:00:00Z")
    first, second = trials_of("01_coarse", SWEEP, [replace(whole, **change), neighbour])
    if first.claim["run"] == "b":
        first, second = second, first
    assert (first.status, second.status) == (status, "complete")
    # What the screen, refine and the report make of each.
    assert first.result is None or isinstance(first.result.loss("min"), float)
    assert all(isinstance(epoch, int) for epoch in first.curve)
    assert first.seconds_running(2e9) >= 0
    assert first.claim["epochs"] is None
    for axis in SPACE:
        if axis.name in first.point:
            assert np.isfinite(axis.scale.to_unit([first.point[axis.name]])).all()


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


def test_runs_are_numbered_by_age() -> None:
    ages = {"b": "2026-01-02", "a": "2026-01-03", "c": "2026-01-01"}
    runs = [WandbRun(n, n, "running", day, POINT, {}) for n, day in ages.items()]
    found = trials_of("01_coarse", SWEEP, runs)
    assert [(t.number, t.claim["run"]) for t in found] == [(0, "c"), (1, "b"), (2, "a")]


# -- what the client says


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("api_key not configured (no-tty)", UserError),
        ("HTTP 401: user is not logged in", UserError),
        ("returned error 403: permission denied", UserError),
        ("POST http://127.0.0.1:40135/graphql giving up", SearchFailed),  # a port
        ("me/p/ab403c: 500 Internal Server Error", SearchFailed),
    ],
)
def test_a_lack_of_rights_is_told_from_a_service_that_is_away(
    words: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="W&B"), clear_errors("me/p/abc"):
        raise CommError(words)


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
