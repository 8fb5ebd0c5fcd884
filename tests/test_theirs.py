"""Anybody's W&B sweep becomes a space: what each distribution draws, which scale an axis wants, and
the file that is written."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from caviar.config import resolvers
from caviar.space import (
    Choice,
    Integer,
    Linear,
    Log,
    LogInteger,
    OneMinusLog,
    Scale,
    Space,
    SpaceError,
)
from caviar.space.appropriate import appropriate
from caviar.space.matching import match
from caviar.space.space_file import Entry, resolver, space_text
from caviar.space.theirs import Fixed, Left, Parameter, read_parameter, read_parameters

resolvers.register()


def read(said: str, name: str = "x") -> Any:
    return read_parameter(name, yaml.safe_load(f"{{{said}}}"))


def powers(low: float, high: float) -> Any:
    """A quantile function that is log-uniform between two values."""
    return lambda u: low * (high / low) ** u


# The quantile functions of W&B's own sampler, at a quarter, the half and three quarters.
QUARTERS = [0.25, 0.5, 0.75]
LOG, E4 = "distribution: log_uniform_values", 9.21034  # log(10_000)


@pytest.mark.parametrize(
    ("said", "scale", "drawn"),
    [
        ("min: 0.0, max: 1", Linear(0, 1), lambda u: u),
        ("min: 0, max: 0.5", Linear(0, 0.5), lambda u: u / 2),
        ("distribution: uniform, min: 1, max: 3", Linear(1, 3), lambda u: 1 + 2 * u),
        ("min: 1, max: 100", Integer(1, 100), lambda u: math.ceil(100 * u)),
        (f"{LOG}, min: 1.0e-4, max: 1", Log(1e-4, 1), powers(1e-4, 1)),
        (f"{LOG}, min: 1e-4, max: 1e-0", Log(1e-4, 1), powers(1e-4, 1)),
        (
            f"distribution: log_uniform, min: -{E4}, max: 0",
            Log(1e-4, 1),
            lambda u: math.exp(-E4 + E4 * u),
        ),
        (
            f"distribution: inv_log_uniform, min: 0, max: {E4}",
            Log(1e-4, 1),
            lambda u: math.exp(-E4 * (1 - u)),
        ),
        (
            "distribution: inv_log_uniform_values, min: 0.01, max: 1",
            Log(0.01, 1),
            lambda u: math.exp(-((1 - u) * math.log(100))),  # which is the plain law
        ),
        (
            "distribution: q_uniform, min: 0.6, max: 99.9",
            Integer(1, 100),
            lambda u: round(0.6 + 99.3 * u),
        ),
        (
            "distribution: q_log_uniform_values, min: 16, max: 4096",
            LogInteger(16, 4096),
            lambda u: round(16 * 256**u),
        ),
    ],
)
def test_a_range_draws_what_wandb_drew(said: str, scale: Scale, drawn: Any) -> None:
    parameter = read(said)
    assert parameter.scale == scale
    expected = [drawn(u) for u in QUARTERS]
    near = {"rel": 0.04, "abs": 1} if isinstance(scale, Integer) else {"rel": 1e-4}  # half steps
    assert parameter.scale.from_unit(QUARTERS) == pytest.approx(expected, **near)


@pytest.mark.parametrize(
    ("said", "scale", "note"),
    [
        ("distribution: q_uniform, min: 32, max: 128, q: 32", Choice((32, 64, 96, 128)), ""),
        ("distribution: q_uniform, min: 0.0, max: 0.5, q: 0.1", Linear(0, 0.5), "steps of 0.1"),
        ("distribution: q_uniform, min: 8, max: 512, q: 8", Integer(8, 512), "steps of 8"),
        (
            "distribution: q_log_uniform_values, min: 8, max: 512, q: 8",
            LogInteger(8, 512),
            "steps of 8",
        ),
        ("distribution: q_log_uniform, min: 0, max: 4.60517", LogInteger(1, 100), ""),
        ("distribution: normal, mu: 1, sigma: 0.25", Linear(0.5, 1.5), "two sigmas"),
        ("distribution: q_normal, mu: 64, sigma: 16", Integer(32, 96), "two sigmas"),
        ("distribution: log_normal, mu: 0, sigma: 1", Log(0.1353, 7.389), "two sigmas"),
        ("distribution: beta, a: 2, b: 5", Linear(0, 1), "beta"),
        (
            "distribution: log_uniform, min: 0.0001, max: 0.1",
            Log(1e-4, 0.1),
            "W&B drew 1.0001 … 1.10517",
        ),
        ("distribution: log_uniform, min: 16, max: 900", Log(16, 900), "W&B drew e^16 … e^900"),
        (
            "distribution: log_uniform, min: -5, max: -1",
            Log(0.006738, 0.3679),
            "${log:1e-05,0.1}",
        ),
        ("values: [1, 2, 2]", Choice((1, 2)), "twice"),
        ("values: [a, b], probabilities: [0.9, 0.1]", Choice(("a", "b")), "probabilities"),
        ("values: [1e-3, 1e-2, true, null, '7']", Choice((1e-3, 1e-2, True, None, "7")), ""),
    ],
)
def test_what_a_scale_does_not_keep_is_said(said: str, scale: Scale, note: str) -> None:
    parameter = read(said)
    assert parameter.scale == scale
    assert note in " ".join(parameter.notes)
    assert bool(note) == bool(parameter.notes)


def test_what_is_no_axis() -> None:
    assert read("value: 3") == Fixed("x", 3)
    assert read("values: [1e-3]") == Fixed("x", 1e-3)
    assert read("distribution: constant, value: null") == Fixed("x", None)
    lists = read("values: [[64, 64], [128]]")
    assert isinstance(lists, Left)
    assert "is a list" in lists.reason


def test_nested_parameters_have_dotted_names() -> None:
    tree = {"optimizer": {"parameters": {"lr": {"value": 0.1}, "b.c": {"values": [1, 2]}}}}
    assert [p.name for p in read_parameters(tree)] == ["optimizer.lr", "optimizer.b.c"]


def test_a_sweep_file_of_our_own_is_read_as_one() -> None:
    parameter = read("distribution: log_uniform_values, min: 0.001, max: 0.1", "one_minus.momentum")
    assert parameter.scale == OneMinusLog.from_natural(0.9, 0.999)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("distribution: unifrom, min: 0, max: 1", "did you mean uniform?"),
        ("distribution: uniform, max: 1", "min is missing"),
        ("min: 0.1", "max is missing"),
        ("min: 1, max: 0.1", "swap them"),
        ("min: 0.1, max: big", "'big' is not a finite number"),
        ("distribution: log_uniform_values, min: 0, max: 1", "has no logarithm"),
        ("distribution: log_uniform, min: -1, max: 1000", "log_uniform_values"),
        ("distribution: q_uniform, min: 0, max: 9, q: 0", "above 0"),
        ("values: 3", "write a list"),
        ("mu: 0", "it has mu; write value, values, or min and max"),
        ("", "it says nothing"),
    ],
)
def test_a_bad_parameter_is_one_sentence(said: str, words: str) -> None:
    with pytest.raises(SpaceError) as raised:
        read(said)
    assert raised.value.key == "x"
    assert words in raised.value.message


# Scales by name


def one_minus(low: float, high: float) -> OneMinusLog:
    return OneMinusLog.from_natural(low, high)


@pytest.mark.parametrize(
    ("key", "scale", "wanted"),
    [
        ("optimizer.lr", Linear(1e-4, 0.1), Log(1e-4, 0.1)),
        ("learning_rate", Linear(0.01, 0.1), Log(0.01, 0.1)),
        ("model.encoder_lr", Linear(0, 0.1), Log(1e-5, 0.1)),
        ("weight-decay", Linear(0, 1e-2), Log(1e-6, 1e-2)),
        ("optimizer.epsilon", Linear(1e-8, 1e-3), Log(1e-8, 1e-3)),
        ("optimizer.momentum", Linear(0.8, 0.99), one_minus(0.8, 0.99)),
        ("optimizer.momentum", Log(0.9, 0.999), one_minus(0.9, 0.999)),
        ("optimizer.momentum", Linear(0.5, 1.0), one_minus(0.5, 0.999)),
        ("beta_2", Linear(0.9, 0.9999), one_minus(0.9, 0.9999)),
        ("algorithm.gamma", Linear(0.9, 0.99), one_minus(0.9, 0.99)),
        ("ema_decay", Linear(0.99, 1), one_minus(0.99, 0.999)),
        ("loss.margin", Linear(1e-3, 10), Log(1e-3, 10)),  # anything over three decades
    ],
)
def test_a_scale_that_cannot_be_right_is_changed_and_said(
    key: str, scale: Any, wanted: Scale
) -> None:
    proposal = appropriate(key, scale)
    assert proposal.scale == wanted
    assert proposal.because


@pytest.mark.parametrize(
    ("key", "scale"),
    [
        ("optimizer.lr", Log(1e-5, 1)),
        ("optimizer.lr", Linear(0.02, 0.1)),  # within a decade
        ("optimizer.momentum", one_minus(0.5, 0.999)),
        ("optimizer.momentum", Linear(0.5, 0.9)),
        ("vae.beta", Linear(0.1, 10)),  # a weight, no average
        ("per.beta", Linear(0, 1)),
        ("norm.momentum", Linear(0.01, 0.3)),
        ("model.dropout", Linear(0, 0.5)),
        ("loss.margin", Linear(0.01, 1)),
        ("model.depth", Integer(1, 6)),
        ("data.batch_size", Choice((16, 32, 64))),
        ("optimizer.lr", Choice((0.1, 0.01, 0.001))),
    ],
)
def test_a_scale_that_may_well_be_meant_stays(key: str, scale: Any) -> None:
    proposal = appropriate(key, scale)
    assert (proposal.scale, proposal.because) == (scale, "")


@pytest.mark.parametrize(
    ("key", "scale", "instead"),
    [
        ("data.batch_size", Choice((16, 32, 64)), "${log_integer:16,64}, if it need not"),
        ("model.width", Choice((16, 64, 256)), "${log_integer:16,256}"),
        ("model.depth", Choice((1, 2, 3)), "${integer:1,3}"),
        ("optimizer.lr", Choice((0.1, 0.01, 0.001)), "${log:0.001,0.1}"),
        ("optimizer.momentum", Choice((0.8, 0.9, 0.99)), "${one_minus_log:0.8,0.99}"),
        ("model.dropout", Choice((0.0, 0.1, 0.5)), "${linear:0,0.5}"),
        ("model.width", Integer(16, 1024), "${log_integer:16,1024}"),
        ("model.act", Choice(("relu", "gelu", "tanh")), ""),
        ("model.width", Choice((16, 32)), ""),
    ],
)
def test_what_else_would_fit_a_list_is_said(key: str, scale: Any, instead: str) -> None:
    proposal = appropriate(key, scale)
    assert proposal.scale == scale
    assert instead in proposal.instead
    assert bool(instead) == bool(proposal.instead)


def test_whole_ends_of_a_fraction() -> None:
    assert appropriate("dropout", Integer(0, 1), guessed=True).scale == Linear(0, 1)
    assert "only 0 and 1" in appropriate("dropout", Integer(0, 1), guessed=True).because
    assert appropriate("lr", Integer(0, 1), guessed=True).scale == Log(1e-4, 1)
    assert appropriate("x", Integer(0, 3), default=0.5).scale == Linear(0, 3)
    assert appropriate("dropout", Integer(0, 1)).scale == Integer(0, 1)  # which somebody said
    assert appropriate("layers", Integer(0, 3), default=2, guessed=True).scale == Integer(0, 3)


def test_fractions_of_a_whole_number() -> None:
    assert appropriate("width", Linear(16, 128), default=32).scale == Integer(16, 128)
    assert appropriate("width", Log(16, 4096), default=32).scale == LogInteger(16, 4096)
    assert appropriate("weight", Linear(0.5, 1.5), default=1).scale == Linear(0.5, 1.5)
    assert appropriate("lr", Log(1, 10), default=1).scale == Log(1, 10)


# Keys

DEFAULTS = {
    "model.optimizer.lr": 0.1,
    "model.optimizer._target_": "torch.optim.SGD",
    "model.net.width": 32,
    "model.head.width": 32,
    "data.batch_size": 64,
    "trainer.max_epochs": 5,
    "logger.lr": "${model.optimizer.lr}",
    "seed": 0,
}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model.optimizer.lr", "model.optimizer.lr"),
        ("lr", "model.optimizer.lr"),
        ("learning_rate", "model.optimizer.lr"),
        ("optimizer/lr", "model.optimizer.lr"),
        ("optimizer_learning-rate", "model.optimizer.lr"),
        ("net.width", "model.net.width"),
        ("batch-size", "data.batch_size"),
        ("epochs", "trainer.max_epochs"),
        ("logger.lr", "logger.lr"),
    ],
)
def test_a_name_is_the_one_key_that_ends_in_it(name: str, key: str) -> None:
    assert match(name, DEFAULTS) == key


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("width", "could be model.net.width or model.head.width; say which: --key width=model.net"),
        ("size", "no such key; say which one it is, --key size=KEY"),
        ("batchsize", "did you mean data.batch_size? Say which"),
        ("_target_", "no such key"),
    ],
)
def test_a_name_that_is_no_key_is_refused(name: str, words: str) -> None:
    with pytest.raises(SpaceError, match=name) as raised:
        match(name, DEFAULTS)
    assert words in raised.value.message


# The file


def parsed(text: str) -> Space:
    tree: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    return Space.parse(tree)


def test_the_file_mirrors_the_config() -> None:
    text = space_text(
        [
            Entry("optimizer.lr", Log(1e-5, 0.1), ["lr, uniform; now log", "and " + "more " * 30]),
            Entry("x", Choice((1, 2.0, "a b", "1e3", None, True))),
            Entry("optimizer.momentum", OneMinusLog.from_natural(0.9, 0.999)),
        ],
        ["From theirs.yaml"],
    )
    assert text.startswith("# From theirs.yaml\noptimizer:\n  # lr, uniform; now log\n  # and more")
    assert "  lr: ${log:1e-5,0.1}\n  momentum: ${one_minus_log:0.9,0.999}\nx: " in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert parsed(text).axis("x").scale == Choice((1, 2.0, "a b", "1e3", None, True))


@pytest.mark.parametrize("keys", [("a", "a.b"), ("a.b", "a"), ("a", "a"), ("tiers",), ("a..b",)])
def test_keys_that_no_space_can_have(keys: tuple[str, ...]) -> None:
    with pytest.raises(SpaceError):
        space_text([Entry(key, Linear(0, 1)) for key in keys])


numbers = st.floats(1e-12, 1e12).map(lambda x: float(f"{x:.6g}"))
values = st.one_of(st.none(), st.booleans(), st.integers(), numbers, st.text(max_size=8))


@given(st.lists(values, min_size=2, unique_by=lambda v: (type(v), v)))
def test_any_choice_reads_back(drawn: list[Any]) -> None:
    assert parsed(space_text([Entry("a.b", Choice(tuple(drawn)))])).axes[0].scale == Choice(
        tuple(drawn)
    )


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, Any]:
    """A parameter that W&B takes, and that has two ends."""
    kind = draw(st.sampled_from(["", "uniform", "log_uniform_values", "inv_log_uniform_values",
                                 "int_uniform", "q_uniform", "q_log_uniform_values"]))  # fmt: skip
    whole = kind == "int_uniform" or (kind.startswith("q_")) or (not kind and draw(st.booleans()))
    positive = "log" in kind
    if whole:
        low = draw(st.integers(1 if positive else -50, 5000))
        high = low + draw(st.integers(2, 5000))
        ends: tuple[float, float] = (low, high)
    else:
        low_ = draw(numbers)
        ends = (low_ if positive or draw(st.booleans()) else 0.0, low_ * draw(st.floats(1.1, 1e6)))
    said: dict[str, Any] = {"min": ends[0], "max": ends[1]}
    return said | ({"distribution": kind} if kind else {})


NAMES = ["a.lr", "momentum", "weight_decay", "model.dropout", "width", "batch_size", "gamma", "x.y"]


@given(st.sampled_from(NAMES), ranges(), st.sampled_from([None, 0.5, 3]))
def test_every_range_becomes_a_space_over_the_same_range(
    key: str, said: dict[str, Any], default: Any
) -> None:
    parameter = read_parameter(key, said)
    assert isinstance(parameter, Parameter)
    proposal = appropriate(key, parameter.scale, default, parameter.guessed)
    space = parsed(space_text([Entry(key, proposal.scale, [parameter.was, proposal.because])]))
    (axis,) = space.axes
    assert (axis.key, axis.scale) == (key, proposal.scale)
    assert not isinstance(axis.scale, Choice)
    low, high = axis.scale.declared()
    if high != 0.999:  # in the place of 1, of an average
        assert high == pytest.approx(said["max"], rel=1e-9)
    if said["min"] > 0 or type(axis.scale) is not Log:  # 0 has no logarithm
        assert low == pytest.approx(said["min"], rel=1e-9, abs=1e-12)
    else:
        assert low == pytest.approx(high / 1e4, rel=1e-3)
    drawn = [axis.scale.natural(v) for v in axis.scale.from_unit([0, 0.5, 1]).tolist()]
    slack = 1e-5 * (high - low)
    assert all(low - slack <= value <= high + slack for value in drawn)


@given(
    st.floats(0, 0.98).map(lambda x: round(x, 4)),
    st.floats(0.99, 0.9999).map(lambda x: round(x, 5)),
)
def test_an_average_near_one_is_drawn_in_its_complement(low: float, high: float) -> None:
    scale = read_parameter("momentum", {"min": low, "max": high}).scale  # type: ignore[union-attr]
    proposal = appropriate("optimizer.momentum", scale)
    if (1 - low) / (1 - high) >= 10:
        assert resolver(proposal.scale).startswith("${one_minus_log:")
        assert proposal.scale.declared() == pytest.approx((low, high), abs=1e-12)  # type: ignore[union-attr]


def test_lint_and_the_way_in_agree() -> None:
    """What lint warns of in a space is what is changed on the way in."""
    from caviar.space import Axis, lint

    (problem,) = lint(Space((Axis("x", Linear(1e-4, 1)),)), {"x": 0.1})
    assert appropriate("x", Linear(1e-4, 1)).because in problem.message
