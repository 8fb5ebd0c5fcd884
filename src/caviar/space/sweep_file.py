"""One stage of a search as a file that `wandb sweep FILE` and `train.py -m search.sweep=FILE` run.

The file is written line by line rather than dumped, so that it reads and diffs well and every
range can say in a comment why it is what it is. It reads back to exactly the same space, and to the
same comments: a file that is edited, read and written again loses none of its reasons.

W&B's rules (0.31): dotted names, because nested `parameters:` break Hydra; floats with a decimal
point, because YAML reads 1e-4 as text; `run_cap` in the file; `${args_no_hyphens}` hands the
point over as `key=value`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from caviar.base.errors import UserError
from caviar.base.files import replaced
from caviar.space.scales import Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Scale
from caviar.space.space import Axis, Space
from caviar.space.values import ScaleError, number

DISTRIBUTIONS: dict[type[Linear], str] = {
    Log: "log_uniform_values",
    OneMinusLog: "log_uniform_values",
    Linear: "uniform",
    Integer: "int_uniform",
    LogInteger: "q_log_uniform_values",
}
GOALS = {"min": "minimize", "max": "maximize"}
PROGRAM = "train.py"  # the template's, which runs trials by itself
RUNNER = ("-m", "caviar.run")  # runs those of another script
LAUNCH = ("${env}", "${interpreter}", *RUNNER, "${program}")  # before the fixed overrides
POINT = "${args_no_hyphens}"  # after them
DECLARES = re.compile(r"[+~]*space([.=@/]|$)")  # an override of the `space` node
SOURCES = re.compile(r"--config-(dir|name|path)=|hydra\.searchpath=")  # says where config files are
# Comments, as `SweepFile.text` writes them and `_comments` finds them again:
HEADS = ("# Stage ", "# Here: ", "# W&B: ")  # the first lines, which say how to run the file
AXIS = re.compile(r"  ([^\s#].*?):(\s.*)?")  # two spaces deep, with whatever stands behind
TIER = re.compile(r"# (?:.*, )?tier (\d+)$")  # behind an axis
REASON = re.compile(r"    #(?: (.*))?")  # four spaces deep


@dataclass(frozen=True)
class SweepFile:
    """What a stage is: a space, how many trials, what is measured, what stays fixed."""

    study: str
    stage: str
    space: Space
    num_trials: int
    metric: str
    """The logged metric, without the `_best` that W&B is told to watch: `val/loss`."""
    mode: str
    """`min` or `max`."""
    overrides: tuple[str, ...] = ()
    """Hydra overrides that every trial of the stage shares."""
    declares: tuple[str, ...] = field(default=(), compare=False)
    """Hydra overrides of the `space` node that the axes came from. They change no trial; a run of a
    sweep checks its keys against the space that they compose."""
    sources: tuple[str, ...] = field(default=(), compare=False)
    """Words of the command that say where its config files are, beside conf/."""
    program: str = field(default=PROGRAM, compare=False)
    """The script that trains, from the project's folder."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Comment lines at the top: parent stage, top five."""
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False)
    """Comment lines by coordinate name: why the range is what it is."""

    def text(self) -> str:
        """The file's content."""
        lines = [
            f"{HEADS[0]}{self.stage} of study {self.study}, random search.",
            f"{HEADS[1]}python {self.program} -m search.study={self.study} search.sweep=THIS_FILE",
            f"{HEADS[2]} wandb sweep THIS_FILE",
            *(_comment(note) for note in self.notes),
            f"program: {_scalar(self.program)}",
            "method: random",
            f"name: {_scalar(f'{self.study} {self.stage}')}",
            "metric:",
            f"  name: {_scalar(self.metric + '_best')}",
            f"  goal: {GOALS[self.mode]}",
            f"run_cap: {self.num_trials}",
            "parameters:",
        ]
        for axis in self.space:
            lines.append(f"  {_scalar(axis.name)}:{_declared(axis)}")
            lines += [f"    {_comment(reason)}" for reason in self.reasons.get(axis.name, ())]
            lines += [f"    {line}" for line in _parameter(axis.scale)]
        # Last, so that a file that was cut off anywhere is known by what it lacks.
        launch = [w for w in LAUNCH if w not in RUNNER or self.program != PROGRAM]
        words = (*launch, *self.sources, *self.declares, *self.overrides, POINT)
        lines += ["command:", *(f"  - {_scalar(word)}" for word in words)]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as partial:
            partial.write_text(self.text(), encoding="utf-8")

    def same_trials(self, other: SweepFile) -> bool:
        """Whether both describe the same trials, were it more or fewer of them, in any order of
        axes and overrides."""
        one, two = (
            replace(
                s,
                num_trials=0,
                overrides=tuple(sorted(s.overrides)),
                space=Space(tuple(sorted(s.space, key=lambda axis: axis.name))),
            )
            for s in (self, other)
        )
        return one == two

    @classmethod
    def read(cls, path: Path) -> SweepFile:
        """Read a sweep file.

        Raises:
            UserError: it is missing, no YAML, or no random sweep over known distributions.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the sweep file {path}: {error}") from None
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: Path) -> SweepFile:
        """Read a sweep file's text; `path` is named in errors."""
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{path} is no valid YAML: {error}") from None
        try:
            return cls._from_document(document, path, text)
        except KeyError as error:
            raise UserError(f"{path}: the key {error.args[0]} is missing; is it whole?") from None
        except (ScaleError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{path}: {error}") from None

    @classmethod
    def _from_document(cls, document: Any, path: Path, text: str) -> SweepFile:
        if not isinstance(document, dict):
            raise ValueError("it holds no mapping with method, metric and parameters; is it whole?")
        if document.get("method") != "random":
            raise ValueError(f"method is {document.get('method')!r}; only random is supported")
        if not isinstance(document["parameters"], dict):
            raise ValueError("parameters holds no axis; is the file whole?")
        # By the last space: the name of a study may have some, that of a stage has none.
        study, _, stage = str(document.get("name", "")).rpartition(" ")
        notes, reasons, tiers = _comments(text)
        axes = []
        for name, parameter in document["parameters"].items():
            try:
                scale = _scale(name, parameter)
            except (ScaleError, KeyError) as error:
                raise ValueError(f"parameters.{name}: {_message(error)}") from None
            axes.append(Axis(name.removeprefix(scale.prefix), scale, tiers.get(name)))
        command = [str(word) for word in document["command"] or ()]
        # Without it every run of the sweep would train the same default setting.
        if POINT not in command:
            raise ValueError(
                f"command lacks {POINT}, where the hyperparameters go; is the file whole?"
            )
        fixed = [word for word in command if word not in (*LAUNCH, POINT)]
        run_cap = document.get("run_cap", 0)
        if isinstance(run_cap, bool) or not isinstance(run_cap, int) or run_cap < 0:
            raise ValueError(f"run_cap is {run_cap!r}; write the number of trials, such as 30")
        goals = {goal: mode for mode, goal in GOALS.items()}
        if document["metric"]["goal"] not in goals:
            raise ValueError(f"metric.goal must be one of {', '.join(goals)}")
        return cls(
            study=study,
            stage=stage or path.stem,
            space=Space(tuple(axes)),
            num_trials=run_cap,
            metric=document["metric"]["name"].removesuffix("_best"),
            mode=goals[document["metric"]["goal"]],
            overrides=tuple(w for w in fixed if not (DECLARES.match(w) or SOURCES.match(w))),
            declares=tuple(word for word in fixed if DECLARES.match(word)),
            sources=tuple(word for word in fixed if SOURCES.match(word)),
            program=str(document.get("program", PROGRAM)),
            notes=notes,
            reasons=reasons,
        )


def _comments(text: str) -> tuple[tuple[str, ...], dict[str, list[str]], dict[str, int]]:
    """What a file says in comments: notes at its top, and reasons and tiers by coordinate name.

    YAML drops them, so they are found by where `SweepFile.text` puts them: a reason is indented
    below its axis, a tier stands behind the axis' name. Comments elsewhere are not kept.
    """
    top, _, parameters = text.partition("\nparameters:\n")
    notes = []
    for i, line in enumerate(top.split("\n")):
        if not line.startswith("#"):
            break
        if i >= len(HEADS) or not line.startswith(HEADS[i]):
            notes.append(line.removeprefix("#").removeprefix(" "))
    reasons: dict[str, list[str]] = {}
    tiers: dict[str, int] = {}
    name = ""
    for line in parameters.split("\n"):
        if axis := AXIS.fullmatch(line):
            name = axis[1].strip("\"'")
            if tier := TIER.search(axis[2] or ""):
                tiers[name] = int(tier[1])
        elif reason := REASON.fullmatch(line):
            reasons.setdefault(name, []).append(reason[1] or "")
        elif not line.startswith(" "):  # `command:`, below which nothing is explained
            break
    return tuple(notes), reasons, tiers


def _parameter(scale: Scale) -> list[str]:
    if isinstance(scale, Choice):
        if len(scale.values) == 1:
            return [f"value: {_scalar(scale.values[0])}"]
        return ["values:", *(f"  - {_scalar(value)}" for value in scale.values)]
    low, high = scale.low, scale.high
    if isinstance(scale, LogInteger):
        # W&B rounds a log-uniform float, so half a step each way gives the ends their full share.
        low, high = scale.low - scale.half_step, scale.high + scale.half_step
    # OneMinusLog as plain Log: the prefix in its name tells that these are complements.
    lines = [f"distribution: {DISTRIBUTIONS[type(scale)]}"]
    lines += [f"min: {_scalar(low)}", f"max: {_scalar(high)}"]
    return [*lines, "q: 1"] if isinstance(scale, LogInteger) else lines


def _scale(name: str, parameter: Mapping[str, Any]) -> Scale:
    if not isinstance(parameter, dict):
        raise ScaleError("it says nothing; write value, values, or distribution, min and max")
    complement = name.startswith(OneMinusLog.prefix)
    if "value" in parameter:
        return Choice((parameter["value"],), complement)
    if "values" in parameter:
        if not isinstance(parameter["values"], list):
            raise ScaleError("values is no list; is the file whole?")
        return Choice(tuple(parameter["values"]), complement)
    # W&B guesses a missing distribution from the ends, whole numbers as int_uniform; we refuse.
    distribution = parameter.get("distribution")
    low, high = parameter["min"], parameter["max"]
    if distribution == "q_log_uniform_values":
        if parameter.get("q", 1) != 1:
            raise ScaleError(f"q is {parameter['q']!r}; only steps of 1 are supported")
        # The half steps off again; 16 … 4096, written by hand, holds the same whole numbers.
        return LogInteger(math.floor(number(low) + 0.5), math.ceil(number(high) - 0.5))
    if complement:
        if distribution != DISTRIBUTIONS[OneMinusLog]:
            raise ScaleError(f"{distribution!r} should be {DISTRIBUTIONS[OneMinusLog]}")
        return OneMinusLog(low, high)
    for cls in (Log, Linear, Integer):
        if distribution == DISTRIBUTIONS[cls]:
            return cls(low, high)
    names = ", ".join(dict.fromkeys(DISTRIBUTIONS.values()))
    raise ScaleError(f"the distribution {distribution!r} is not one of {names}")


def _declared(axis: Axis) -> str:
    """The comment behind an axis: what the complement means in natural values, and the tier."""
    words = [str(axis.scale)] if isinstance(axis.scale, OneMinusLog) else []
    words += [f"tier {axis.tier}"] if axis.tier is not None else []
    return f"  # {', '.join(words)}" if words else ""


def _comment(words: str) -> str:
    """One line, whatever a choice of text brings along."""
    return ("# " + "".join(c if c.isprintable() else " " for c in words)).rstrip()


def _scalar(value: Any) -> str:
    """A YAML 1.1 scalar that reads back as `value`; floats always with a decimal point."""
    if isinstance(value, float):
        # repr gives 1e-05, which YAML 1.1 reads as text: it wants 1.0e-05, and a sign behind e.
        mantissa, e, exponent = repr(value).partition("e")
        mantissa += "" if "." in mantissa else ".0"
        sign = "" if exponent.startswith("-") or not e else "+"
        return f"{mantissa}{e}{sign}{exponent.lstrip('+')}"
    if isinstance(value, str):
        # Bare where it reads back as this very text: not `on`, `null`, `1e5` or `a: b`.
        if (
            re.fullmatch(r"[A-Za-z_$]([\w${}=./ -]*[\w${}=./-])?", value)
            and yaml.safe_load(value) == value
        ):
            return value
        quoted: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=math.inf)
        return quoted.rstrip("\n")
    return json.dumps(value)


def _message(error: Exception) -> str:
    return f"the key {error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
