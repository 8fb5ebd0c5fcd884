"""Resolvers: pure functions from `${log:1e-4,1}` to plain data."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from caviar.config.resolvers import register
from caviar.space import Axis, Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Space

register()
register()  # again is no error


def resolved(**entries):
    return OmegaConf.to_container(OmegaConf.create(entries), resolve=True)


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("${log:1e-4,1}", Log(1e-4, 1)),
        ("${one_minus_log:0.9,0.999}", OneMinusLog(0.001, 0.1)),
        ("${linear:-1,0.5}", Linear(-1, 0.5)),
        ("${integer:16,128}", Integer(16, 128)),
        ("${log_integer:16,4096}", LogInteger(16, 4096)),
        ("${choice:16,relu,null,true,0.5}", Choice((16, "relu", None, True, 0.5))),
        ("${choice:a b}", Choice(("a b",))),
    ],
)
def test_every_scale_can_be_declared(text, scale):
    space = Space.parse(resolved(optimizer={"x": text}))
    assert repr(space) == repr(Space((Axis("optimizer.x", scale),)))


def test_reading_twice_is_the_same():
    config = OmegaConf.create({"lr": "${log:1e-4,1}"})
    assert config.lr == config.lr == {"scale": "log", "low": 1e-4, "high": 1}


def test_ends_may_come_from_the_config():
    tree = resolved(top=0.1, optimizer={"lr": "${log:1e-4,${top}}"})
    assert Space.parse({"optimizer": tree["optimizer"]}).axes[0].scale == Log(1e-4, 0.1)


@pytest.mark.parametrize("text", ["${log:1e-4}", "${integer:1,2,3}", "${linear:}"])
def test_a_range_takes_two_ends(text):
    with pytest.raises(InterpolationResolutionError, match="takes two numbers, low and high"):
        resolved(x=text)


def test_an_empty_choice_reaches_its_refusal():
    assert resolved(x="${choice:}") == {"x": {"scale": "choice", "values": []}}


@pytest.mark.parametrize(
    ("complement", "beta"), [("0.0123", 0.9877), ("0.1", 0.9), ("1e-05", 0.99999), ("1", 0)]
)
def test_one_minus_gives_the_beta_that_was_meant(complement, beta):
    assert resolved(x=f"${{one_minus:{complement}}}") == {"x": beta}


@pytest.mark.parametrize("complement", ["abc", "true", "null"])
def test_one_minus_takes_a_number(complement):
    with pytest.raises(InterpolationResolutionError, match="is not a number"):
        resolved(x=f"${{one_minus:{complement}}}")


def test_next_number_claims_the_next_free_folder(tmp_path):
    for name in ("0", "7", "notes"):
        (tmp_path / name).mkdir()
    config = {
        "folder": str(tmp_path),
        "a": "${next_number:${folder}}",
        "b": "${next_number:${folder}}",
    }
    first = resolved(**config)
    assert (first["a"], first["b"]) == (8, 8)  # one run asks often and stays where it is
    assert (tmp_path / "8").is_dir()
    assert resolved(**config)["a"] == 9


def test_next_number_makes_a_missing_folder(tmp_path):
    assert resolved(x=f"${{next_number:{tmp_path}/runs/train}}") == {"x": 0}
