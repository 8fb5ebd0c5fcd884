"""`caviar.config.compose.build`: a node comes to what Hydra makes of it, by whichever way."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from caviar.base.errors import UserError
from caviar.config import compose
from caviar.config.compose import build

CONFIG = OmegaConf.create(
    {
        "size": 3,
        "plain": {"_target_": "builtins.dict", "a": 1, "b": [1, {"c": None}], "d": "${size}"},
        "nested": {"_target_": "builtins.dict", "a": {"_target_": "builtins.dict", "b": 2}},
        "listed": {"_target_": "builtins.dict", "a": [{"_target_": "builtins.dict", "b": 2}]},
        "partial": {"_target_": "builtins.dict", "_partial_": True, "a": 1},
        "escaped": {"_target_": "builtins.dict", "a": "\\${size}"},
        "none": {"_target_": "fractions.Fraction", "numerator": "nothing"},
        "gone": {"_target_": "fractions.Fractions"},
        "open": {"_target_": "builtins.dict", "a": "???"},
    }
)


@pytest.mark.parametrize("name", ["plain", "nested", "listed", "escaped"])
def test_a_node_comes_to_what_hydra_makes_of_it(name: str) -> None:
    given: dict[str, Any] = {"_convert_": "all", "e": [object()]}
    built, hydras = build(name, CONFIG[name], **given), instantiate(CONFIG[name], **given)
    assert built == hydras
    assert [type(value) for value in built.values()] == [type(v) for v in hydras.values()]


def test_arguments_replace_what_the_node_says() -> None:
    assert build("plain", CONFIG.plain, _convert_="all", a=2)["a"] == 2
    assert build("partial", CONFIG.partial, _convert_="all")() == {"a": 1}


@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "Invalid literal for Fraction: 'nothing'"), ("gone", "Fractions")],
)
@pytest.mark.parametrize("short", [True, False])
def test_a_slip_is_said_with_the_node(
    name: str, said: str, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not short:
        monkeypatch.setattr(compose, "_plain", lambda *_: None)
    with pytest.raises(UserError, match=rf"{name} \(_target_ fractions.Fraction.*\): ") as caught:
        build(name, CONFIG[name], _convert_="all")
    assert said in str(caught.value)


def test_what_is_missing_is_hydras_to_say() -> None:
    with pytest.raises(Exception, match=r"Missing mandatory value: open\.a"):
        build("open", CONFIG.open, _convert_="all")


def test_a_name_that_means_another_class_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"_target_": "fractions.Fraction"}
    assert type(build("one", config, _convert_="all")) is Fraction
    monkeypatch.setattr("fractions.Fraction", complex)
    assert type(build("one", config, _convert_="all")) is complex
