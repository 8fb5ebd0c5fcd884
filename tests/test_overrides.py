"""Overrides: every value survives Hydra's grammar and a shell; `one_minus.` is rewritten."""

import shlex
from itertools import product

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from caviar.config.commands import train_command
from caviar.config.overrides import (
    joined,
    keys_outside,
    override_value,
    point_overrides,
    quote_paths,
    restore_one_minus,
    rewrite_one_minus,
)
from caviar.config.resolvers import register

PARSER = OverridesParser.create()
bounded = settings(max_examples=200, deadline=None)
texts = st.text(st.characters(codec="utf-8")) | st.text("ab'\"\\ ,=:$[]{}()~+-.0n\n", max_size=8)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts


@bounded
@given(values)
@example("C:\\data\\new")
@example("a\\")
@example("it's")
@example("a\\'")
@example("NULL")
@example("nan")
@example("1e5")
@example("")
@example("a,b")
@example("/tmp/a-b/1.5")
@example("03_finest")
@example("0_e5")
@example(["a b", 1, 2.0, None, {"k": [True, "${x}"]}])
@example({"a": {"b": "it's"}})
@example(1e-05)
@example(1e22)
@example(-0.0)
def test_any_value_survives_hydras_grammar(value):
    override = PARSER.parse_override(f"key={override_value(value)}")
    assert not override.is_sweep_override()
    back = override.value()
    assert (type(back), repr(back)) == (type(value), repr(value))


@bounded
@given(st.lists(values, max_size=4))
def test_a_command_survives_the_shell(point):
    overrides = point_overrides({f"group.x{i}": value for i, value in enumerate(point)})
    assert shlex.split(train_command(overrides)) == ["python", "train.py", *overrides]


def test_plain_values_stay_plain():
    point = {"optimizer.lr": 0.01, "one_minus.optimizer.momentum": 1e-05, "model.act": "relu"}
    assert point_overrides(point) == [
        "optimizer.lr=0.01",
        "one_minus.optimizer.momentum=1e-05",
        "model.act=relu",
    ]
    assert train_command(point_overrides(point)) == (
        "python train.py optimizer.lr=0.01 one_minus.optimizer.momentum=1e-05 model.act=relu"
    )


@bounded
@given(st.lists(values, max_size=4))
def test_what_was_rewritten_is_restored(point):
    typed = point_overrides({f"one_minus.group.x{i}": v for i, v in enumerate(point)})
    typed = [t for t in typed if "{" not in t and "}" not in t]
    assert restore_one_minus(rewrite_one_minus(typed)) == typed


def test_other_interpolations_are_left_alone():
    others = ["a=${one_minus:${b}}", "a=${b}", "+a.b=1", "~a", "-m"]
    assert restore_one_minus(others) == others
    assert restore_one_minus(["+a.b=${one_minus:0.1}"]) == ["+one_minus.a.b=0.1"]


def test_of_several_overrides_for_one_key_the_last_remains():
    parts = (["a=1", "b.c=1", "~d"], ["one_minus.b.c=0.1", "+d=2"], ["a=3"])
    assert joined(*parts) == ("one_minus.b.c=0.1", "~d", "+d=2", "a=3")


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    """What Hydra makes of overrides for a config with one key; None where it refuses them."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "config.yaml").write_text("there: 0\n")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base="1.3"):

        def made(overrides):
            try:
                return hydra_compose("config", list(overrides))
            except ConfigCompositionException:
                return None

        yield made


@pytest.mark.parametrize("key", ["there", "absent"])
@pytest.mark.parametrize(
    ("before", "after", "together"),
    [
        ("", "", ""),
        ("", "+", "+"),
        ("", "++", "++"),
        ("+", "", "+"),
        ("+", "+", "+"),
        ("+", "++", "++"),
        ("++", "", "++"),
        ("++", "+", "++"),
        ("++", "++", "++"),
    ],
)
def test_the_prefix_of_the_later_override(compose, key, before, after, together):
    """It goes on from where the earlier one left, or stands alone where that is not possible."""
    parts = [f"{before}{key}=1"], [f"{after}{key}=2"]
    assert joined(*parts) == (f"{together}{key}=2",)
    assert compose(joined(*parts)) in (compose([*parts[0], *parts[1]]), compose(parts[1]), {key: 2})


@pytest.mark.parametrize("key", ["there", "absent"])
def test_hydra_makes_the_same_of_joined_overrides(key):
    """Of all sequences of changes, additions and deletions that it accepts."""

    def made(overrides):
        config = OmegaConf.create({"there": 0})
        OmegaConf.set_struct(config, True)
        try:  # the step of composing that does not read files, which takes 100 times as long
            parsed = PARSER.parse_overrides(list(overrides))
            ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
        except ConfigCompositionException:
            return None
        return config

    accepted = 0
    for length in (2, 3, 4):
        for prefixes in product(("", "+", "++", "~"), repeat=length):
            overrides = [f"~{key}" if p == "~" else f"{p}{key}={i}" for i, p in enumerate(prefixes)]
            if (whole := made(overrides)) is not None:
                accepted += 1
                assert made(joined(overrides)) == whole, overrides
                # Two parts that were joined before, such as a study's and a stage's.
                assert made(joined(joined(overrides[:2]), joined(overrides[2:]))) == whole
                assert len(joined(overrides)) <= 2
    assert accepted > 50


def test_only_complements_are_rewritten():
    given_ = ["one_minus.optimizer.momentum=0.0123", "optimizer.lr=0.1", "-m", "one_minus.x"]
    assert rewrite_one_minus(given_) == [
        "optimizer.momentum=${one_minus:0.0123}",
        "optimizer.lr=0.1",
        "-m",
        "one_minus.x",
    ]
    assert rewrite_one_minus(["a=one_minus.b=1"]) == ["a=one_minus.b=1"]


@pytest.mark.parametrize(("complement", "beta"), [(0.0123, 0.9877), (1e-05, 0.99999), (1, 0)])
def test_a_rewritten_complement_becomes_beta(complement, beta):
    register()
    (argument,) = rewrite_one_minus(point_overrides({"one_minus.optimizer.momentum": complement}))
    override = PARSER.parse_override(argument)
    assert override.key_or_group == "optimizer.momentum"
    assert OmegaConf.create({"momentum": override.value()}).momentum == beta


def test_keys_outside_a_node():
    overrides = [
        "search.study=a",
        "+search.x=1",
        "~space.data",
        "++space.optimizer.lr=${log:1e-5,1}",
        "space@space=adam",
        "experiment/x=b",
        "searching=1",
        "optimizer.lr=0.1",
        "hydra/launcher=pool",
    ]
    assert keys_outside(overrides, "search", "space", "hydra") == [
        "experiment/x=b",
        "searching=1",
        "optimizer.lr=0.1",
    ]
    assert keys_outside(overrides) == overrides


@pytest.mark.parametrize("path", ["runs/epoch=3-val/loss=0.2.ckpt", "a (1).ckpt", "[x].ckpt"])
def test_a_checkpoint_may_have_any_name(path: str) -> None:
    (quoted,) = quote_paths([f"ckpt_path={path}"])
    assert PARSER.parse_override(quoted).value() == path
    assert quote_paths([quoted]) == [quoted]


def test_what_hydra_reads_already_stays() -> None:
    typed = ["ckpt_path=runs/last.ckpt", "ckpt_path=${x}", "a=b=c", "+search.sweep='a=b'"]
    assert quote_paths(typed) == typed
