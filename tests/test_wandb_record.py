"""What was registered is kept whole, found by its sweep, and compared with what the service has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from caviar.base.errors import UserError
from caviar.wandb.record import (
    RECORD,
    find_registered,
    read_registered,
    refuse_changed_sweep,
    write_registered,
)
from wandb_study import SWEEP, record_of


def test_a_record_is_found_by_its_sweep(runs: Path) -> None:
    write_registered(runs / "s", record_of())
    assert read_registered(runs / "s") == {"01_coarse": record_of()}
    assert find_registered("abc") == ("s", record_of())
    assert find_registered("abd") is None
    assert record_of().sweep == SWEEP


@pytest.mark.parametrize(
    ("old", "new"), [('"entity"', '"entit"'), ("{", ""), ("log_uniform_values", "uniform")]
)
def test_a_damaged_record_is_a_clear_message(runs: Path, old: str, new: str) -> None:
    write_registered(runs / "s", record_of())
    path = runs / "s" / RECORD
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=r"sweeps\.json"):
        read_registered(runs / "s")


DAMAGES = {
    "empty": "",
    "torn": '{"01_coarse": {"entity": "me", "pro',
    "no mapping": "[]",
    "null": "null",
    "a stage that is text": '{"01_coarse": "me/p/xyz"}',
    "a stage without its text": '{"01_coarse": {"facts": {}}}',
    "keys of another version": '{"01_coarse": {"facts": {"sweep": ""}, "sweep_id": "xyz"}}',
}


@pytest.mark.parametrize("text", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_stops_nobody_elses_agents(
    runs: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_registered(runs / "s", record_of())
    (runs / "a").mkdir()
    (runs / "a" / RECORD).write_text(text)
    (runs / "b").mkdir()
    (runs / "b" / RECORD).write_bytes(b"\xff")
    assert find_registered("abc") == ("s", record_of())
    assert capsys.readouterr().err == ""
    assert find_registered("abd") is None
    warned = capsys.readouterr().err
    for study in "ab":
        assert f"warning: sweep abd is in no record here, but {runs / study / RECORD} is" in warned
        with pytest.raises(UserError, match=r"sweeps\.json is damaged"):
            read_registered(runs / study)


def test_a_damaged_record_stops_the_sweep_that_it_names(runs: Path) -> None:
    """Else its runs would be checked against whatever space their own command composes."""
    write_registered(runs / "s", record_of())
    path = runs / "s" / RECORD
    path.write_text(path.read_text().replace("log_uniform_values", "uniform", 1))
    with pytest.raises(UserError, match="not the one that was registered"):
        find_registered("abc")
    write_registered(runs / "t", record_of())  # found after all, in another study
    assert find_registered("abc") == ("t", record_of())


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("parameters", {1: {}, None: {}, "seed": {}}, "+parameters: seed"),
        ("parameters", [1], "+parameters: 1"),
        ("command", {True: 1, "a": 2}, "+command.True: 1"),
        ("program", "-c__import__('os')", "+program: -c__import__"),
        ("command", ["/bin/sh"], "+command: /bin/sh"),
        ("command", None, "+command: None"),
        ("parameters", {"seed": {"value": 1}}, "+parameters: seed"),
    ],
)
def test_a_changed_sweep_is_refused_with_the_difference(key: str, value: Any, shown: str) -> None:
    document = {**yaml.safe_load(SWEEP.text()), key: value}
    with pytest.raises(UserError) as refused:
        refuse_changed_sweep(record_of(), document)
    assert shown in str(refused.value)


def test_other_changes_are_told() -> None:
    document = yaml.safe_load(SWEEP.text())
    assert refuse_changed_sweep(record_of(), {**document, "name": "mine", "more": 1}) == ""
    document["parameters"]["optimizer.lr"]["max"] = 10.0
    told = refuse_changed_sweep(record_of(), document)
    assert "-parameters.optimizer.lr.max: 1.0" in told
    assert "+parameters.optimizer.lr.max: 10.0" in told
