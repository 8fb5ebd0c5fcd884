"""Sweep files: they read back to exactly the same space, obey W&B's rules, and refuse clearly."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caviar.base.errors import UserError
from caviar.space import Axis, Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Space
from caviar.space.sweep_file import SweepFile
from test_scales import any_scale

AXES = (
    Axis("optimizer.lr", Log(1e-5, 1), tier=1),
    Axis("optimizer.momentum", OneMinusLog.from_natural(0.9, 0.999), tier=2),
    Axis("optimizer.dampening", Linear(0, 0.5)),
    Axis("model.width", Integer(16, 128)),
    Axis("model.hidden", LogInteger(16, 4096)),
    Axis("data.batch_size", Choice((16, 32, 64))),
)
SWEEP = SweepFile(
    study="digits",
    stage="02_fine",
    space=Space(AXES),
    num_trials=14,
    metric="val/loss",
    mode="min",
    overrides=("experiment=digits", "trainer.max_epochs=5"),
    notes=("Refined from 01_coarse.",),
    reasons={"optimizer.lr": ("was log 1e-05 … 10", "boundary alarm")},
)

TEXT = """\
# Stage 02_fine of study digits, random search.
# Here: python train.py -m search.study=digits search.sweep=THIS_FILE
# W&B:  wandb sweep THIS_FILE
# Refined from 01_coarse.
program: train.py
method: random
name: digits 02_fine
metric:
  name: val/loss_best
  goal: minimize
run_cap: 14
parameters:
  optimizer.lr:  # tier 1
    # was log 1e-05 … 10
    # boundary alarm
    distribution: log_uniform_values
    min: 1.0e-05
    max: 1.0
  one_minus.optimizer.momentum:  # one_minus_log 0.9 … 0.999, tier 2
    distribution: log_uniform_values
    min: 0.001
    max: 0.1
  optimizer.dampening:
    distribution: uniform
    min: 0.0
    max: 0.5
  model.width:
    distribution: int_uniform
    min: 16
    max: 128
  model.hidden:
    distribution: q_log_uniform_values
    min: 15.5
    max: 4096.5
    q: 1
  data.batch_size:
    values:
      - 16
      - 32
      - 64
command:
  - ${env}
  - ${interpreter}
  - ${program}
  - experiment=digits
  - trainer.max_epochs=5
  - ${args_no_hyphens}
"""


def reread(sweep, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "stage.yaml"
    sweep.write(path)
    return SweepFile.read(path)


def space_of(*scales):
    return Space(tuple(Axis(f"group.x{i}", scale) for i, scale in enumerate(scales)))


def test_the_file_is_what_wandb_takes():
    assert SWEEP.text() == TEXT


def test_it_reads_back_the_same(tmp_path_factory):
    assert reread(SWEEP, tmp_path_factory) == SWEEP


printable = st.characters(codec="utf-8").map(lambda one: one if one.isprintable() else "·")
lines = st.text(printable).map(lambda text: text.rstrip(" "))


@settings(max_examples=40, deadline=None)
@given(st.lists(lines), st.dictionaries(st.sampled_from(SWEEP.space.names), st.lists(lines)))
@example(["Here: python", "Stage 1"], {"model.width": ["", "  # indented", "model.hidden:", "-"]})
def test_comments_are_read_back_whatever_they_say(notes, reasons):
    sweep = replace(SWEEP, notes=tuple(notes), reasons=reasons)
    back = SweepFile.parse(sweep.text(), Path("02_fine.yaml"))
    assert back.notes == sweep.notes
    assert back.reasons == {name: words for name, words in reasons.items() if words}
    assert [axis.tier for axis in back.space] == [axis.tier for axis in AXES]
    assert back.text() == sweep.text()


def test_reasons_stay_with_their_axis_in_a_file_edited_by_hand():
    inline = "  'a.b': {value: 1}  # mine\n    # why\n  optimizer.dampening:\n"
    text = TEXT.replace("  optimizer.dampening:\n", inline).replace("# Stage 02_fine", "# My")
    sweep = SweepFile.parse(text, Path("02_fine.yaml"))
    assert sweep.reasons == {"optimizer.lr": list(SWEEP.reasons["optimizer.lr"]), "a.b": ["why"]}
    assert sweep.notes == ("My of study digits, random search.", "Refined from 01_coarse.")


def test_writing_replaces_the_whole_file(tmp_path):
    path = tmp_path / "study" / "02_fine.yaml"  # makes the folder
    for _ in range(2):
        SWEEP.write(path)
    assert [p.name for p in path.parent.iterdir()] == ["02_fine.yaml"]


@settings(max_examples=60, deadline=None)
@given(st.lists(any_scale, min_size=1, max_size=4))
def test_any_space_reads_back_exactly(tmp_path_factory, scales):
    sweep = SweepFile("s", "01", space_of(*scales), 3, "val/loss", "max")
    back = reread(sweep, tmp_path_factory)
    assert back == sweep
    # 1 == 1.0 == True: equality is not enough
    assert repr(back.space) == repr(sweep.space)


@settings(max_examples=60, deadline=None)
@given(any_scale, st.floats(0, 0.6), st.integers(0, 1000))
def test_points_of_a_narrowed_space_survive_the_file(tmp_path_factory, scale, low, number):
    if not isinstance(scale, Choice):
        scale = scale.narrow(low, low + 0.35)
    sweep = SweepFile("s", "01", space_of(scale), 3, "val/loss", "min")
    back = reread(sweep, tmp_path_factory).space
    assert back.point(0, "02_fine", number) == sweep.space.point(0, "02_fine", number)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-30, 1e30), st.floats(1.001, 1e6))
def test_floats_have_a_decimal_point_and_integers_none(low, ratio):
    text = SweepFile(
        "s", "01", space_of(Log(low, low * ratio), Integer(1, 9)), 1, "val/loss", "min"
    ).text()
    ends = [line.split(": ")[1] for line in text.splitlines() if line.strip()[:3] in ("min", "max")]
    assert all("." in end for end in ends[:2])
    assert ends[2:] == ["1", "9"]
    parameters = yaml.safe_load(text)["parameters"]
    assert parameters["group.x0"]["min"] == low  # and not the text "1e-30"


def test_half_steps_give_integer_ends_a_full_share():
    parameter = yaml.safe_load(SWEEP.text())["parameters"]["model.hidden"]
    low, high = math.log(parameter["min"]), math.log(parameter["max"])
    units = [(i + 0.5) / 10_000 for i in range(10_000)]
    drawn = [round(math.exp(low + u * (high - low))) for u in units]  # as W&B draws q = 1
    assert drawn == LogInteger(16, 4096).from_unit(units).tolist()


@pytest.mark.parametrize("best", [0.01, 64, "relu", None, True])
def test_a_frozen_axis_is_a_value(tmp_path_factory, best):
    sweep = SweepFile("s", "01", space_of(Choice((best,))), 1, "val/loss", "min")
    assert yaml.safe_load(sweep.text())["parameters"]["group.x0"] == {"value": best}
    assert repr(reread(sweep, tmp_path_factory).space) == repr(sweep.space)


def test_a_frozen_beta_stays_a_complement(tmp_path_factory):
    frozen = Space((Axis("optimizer.momentum", Choice((0.0123,), complement=True)),))
    sweep = SweepFile("s", "01", frozen, 1, "val/loss", "min")
    assert "  one_minus.optimizer.momentum:\n    value: 0.0123\n" in sweep.text()
    back = reread(sweep, tmp_path_factory).space
    assert back == frozen
    assert back.natural({"one_minus.optimizer.momentum": 0.0123}) == {"optimizer.momentum": 0.9877}


@pytest.mark.parametrize("key", ["on", "null", "x", "model.no", "a_b.c-d"])
def test_keys_that_yaml_reads_as_something_else(tmp_path_factory, key):
    sweep = SweepFile("s", "01", Space((Axis(key, Linear(0, 1)),)), 1, "val/loss", "min")
    assert reread(sweep, tmp_path_factory).space.names == [key]


def test_overrides_with_odd_characters(tmp_path_factory):
    odd = ("a='b c'", 'model.name="x: #y"', "+k=[1,2]", "~data.x", "m=${one_minus:0.01}", "p=C:\\d")
    sweep = SweepFile("s", "01", space_of(Linear(0, 1)), 1, "val/acc", "max", overrides=odd)
    assert reread(sweep, tmp_path_factory) == sweep


def test_a_comment_cannot_break_the_file(tmp_path_factory):
    space = space_of(Choice(("a\nb: [", "bell\x07")))
    reasons = {"group.x0": [f"was {space.axes[0].scale}"]}
    sweep = SweepFile("s", "01", space, 1, "val/loss", "min", notes=("x\ny: [",), reasons=reasons)
    assert reread(sweep, tmp_path_factory) == sweep


# -- reading: one clear message with the path


def refused(tmp_path, text):
    path = tmp_path / "stage.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        SweepFile.read(path)
    assert str(path) in str(caught.value)
    assert "object" not in str(caught.value)  # no words of Python's own
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the sweep file .*nowhere\.yaml"):
        SweepFile.read(tmp_path / "nowhere.yaml")


def test_a_binary_file_is_named(tmp_path):
    path = tmp_path / "stage.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read"):
        SweepFile.read(path)


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    """Anywhere: between two axes, or inside of a number, it would be another search."""
    for length in range(0, len(TEXT) - 1, 3):
        refused(tmp_path, TEXT[:length])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("method: random", "method: bayes", "method is 'bayes'; only random"),
        ("    distribution: int_uniform", "    distribution: normal", "'normal' is not one of"),
        ("    distribution: int_uniform\n", "", "parameters.model.width: the distribution None"),
        ("    max: 128\n", "", "parameters.model.width: the key max is missing"),
        ("    max: 128", "    max: 8", "parameters.model.width: low 16 is not below high 8; swap"),
        ("    max: 128", "    max: 128.5", "128.5 is not a whole number"),
        (
            "min: 1.0e-05",
            "min: 1e-05",
            "'1e-05' is not a finite number; write one, such as 0.1 or 1.0",
        ),
        ("    min: 15.5", "    min: x", "'x' is not a finite number"),
        ("    q: 1", "    q: 8", "q is 8"),
        ("goal: minimize", "goal: down", "metric.goal must be one of minimize, maximize"),
        ("metric:\n  name: val/loss_best\n  goal: minimize\n", "", "the key metric is missing"),
        ("  name: val/loss_best\n", "", "the key name is missing"),
        (TEXT[TEXT.index("parameters:") :], "", "the key parameters is missing"),
        (TEXT[TEXT.index("  optimizer.lr") :], "", "parameters holds no axis"),
        (TEXT[TEXT.index("    values") :], "", "parameters.data.batch_size: it says nothing"),
        (TEXT[TEXT.index("command:") :], "", "the key command is missing; is it whole?"),
        ("  - ${args_no_hyphens}\n", "", "command lacks ${args_no_hyphens}"),
        ("name: digits", "name: [digits", "is no valid YAML"),
        (TEXT, "- a list\n", "it holds no mapping"),
    ],
)
def test_a_bad_file_is_refused_with_its_path(tmp_path, old, new, words):
    assert TEXT.count(old) == 1
    assert words in refused(tmp_path, TEXT.replace(old, new))


def test_a_complement_must_be_logarithmic(tmp_path):
    text = TEXT.replace(
        "0.999, tier 2\n    distribution: log_uniform_values", "\n    distribution: uniform"
    )
    assert "one_minus.optimizer.momentum: 'uniform' should be" in refused(tmp_path, text)
