"""Parameters of anybody's W&B sweep file, read as the scales that draw the same.

    >>> read_parameter("lr", {"distribution": "log_uniform", "min": -9.21034, "max": 0}).scale
    Log(low=0.0001, high=1.0)

What each distribution draws is read off W&B's own sampler and schema, `src/sweeps/params.py` and
`src/sweeps/config/schema.json` of https://github.com/wandb/sweeps at b1dfc5f. Where the nearest
scale does not draw quite the same, the parameter's `notes` say what is lost.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from caviar.space.scales import Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Scale
from caviar.space.space import SpaceError
from caviar.space.values import ScaleError, number, round_significant

YAML_GAP = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")  # 1e-4, which YAML 1.1 reads as text
MOST = 16  # values of a stepped range that are still a choice


@dataclass(frozen=True)
class Parameter:
    """One that is drawn."""

    name: str
    """As their file has it; nested ones with dots."""
    was: str
    """What their file says, in W&B's words: `uniform 0.0001 … 0.1`."""
    scale: Scale
    """The nearest to what W&B drew; not yet what it should have been."""
    notes: tuple[str, ...] = ()
    """What that does not keep."""
    guessed: bool = False
    """W&B was told no distribution, and took the ends' being whole numbers for one."""


@dataclass(frozen=True)
class Fixed:
    """One that has a single value."""

    name: str
    value: Any


@dataclass(frozen=True)
class Left:
    """One that no space can have."""

    name: str
    reason: str


def read_parameters(tree: Any, prefix: str = "") -> Iterator[Parameter | Fixed | Left]:
    """All of the `parameters` of a sweep file, nested ones by dotted names.

    Raises:
        SpaceError: one says nothing that W&B knows.
    """
    for name, said in tree.items():
        full = f"{prefix}{name}"
        if not isinstance(said, Mapping):
            mend = "value, values, or min and max below it"
            raise SpaceError(full, f"it says {said!r}; write {mend}")
        if isinstance(said.get("parameters"), Mapping):
            yield from read_parameters(said["parameters"], f"{full}.")
        else:
            yield read_parameter(full, said)


def read_parameter(name: str, said: Mapping[str, Any]) -> Parameter | Fixed | Left:
    """One parameter, from what stands below its name.

    Raises:
        SpaceError: it says nothing that W&B knows.
    """
    try:
        kind = said.get("distribution") or _guess(said)
        if kind not in READERS:
            close = difflib.get_close_matches(str(kind), READERS, n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            known = ", ".join(READERS)
            raise ScaleError(f"W&B has no distribution {kind!r}; {meant}It has {known}")
        if kind == "constant":
            return Fixed(name, _plain(_of(said, "value")))
        if kind.startswith("categorical"):
            return _values(name, said)
        scale, notes = READERS[kind](said)
        if name.startswith(OneMinusLog.prefix) and isinstance(scale, Log):  # a file of Caviar's own
            scale = OneMinusLog(scale.low, scale.high)
        words = ", ".join(f"{k} {said[k]}" for k in ("mu", "sigma", "a", "b", "q") if k in said)
        ends = f"{said['min']} … {said['max']}" if "min" in said and "max" in said else ""
        ends += " as exponents of e" if kind.endswith("log_uniform") else ""
        was = f"{kind} {', '.join(part for part in (ends, words) if part)}".rstrip()
        guessed = kind == "int_uniform" and "distribution" not in said
        return Parameter(name, was, scale, tuple(notes), guessed)
    except ScaleError as error:
        raise SpaceError(name, str(error)) from None


def _guess(said: Mapping[str, Any]) -> str:
    """The distribution that W&B takes where none is named."""
    if "value" in said:
        return "constant"
    if "values" in said:
        return "categorical"
    if "min" in said or "max" in said:
        whole = all(isinstance(_of(said, end), int) for end in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    there = f"it has {', '.join(said)}" if said else "it says nothing"
    raise ScaleError(f"{there}; write value, values, or min and max, or name a distribution")


def _values(name: str, said: Mapping[str, Any]) -> Parameter | Fixed | Left:
    """A list, of which each value is drawn equally often."""
    given = _of(said, "values")
    if not isinstance(given, list) or not given:
        raise ScaleError(f"values is {given!r}; write a list, such as [16, 32, 64]")
    if any(isinstance(value, list | dict) for value in given):
        reason = (
            "a value of it is a list, and a space chooses among numbers, text and null: give each "
            "a name in the config and choose among the names"
        )
        return Left(name, reason)
    values: list[Any] = []
    for value in map(_plain, given):
        if not any(type(value) is type(v) and value == v for v in values):
            values.append(value)
    notes = []
    if len(values) < len(given):
        notes.append("a value stood there twice; each is drawn equally often")
    if "probabilities" in said:
        notes.append("its probabilities are not kept: each value is drawn equally often")
    if len(values) == 1:
        return Fixed(name, values[0])
    shown = ", ".join("null" if v is None else str(v) for v in given)
    complement = name.startswith(OneMinusLog.prefix)
    return Parameter(name, f"values {shown}", Choice(tuple(values), complement), tuple(notes))


# One reader for each distribution: what it draws, and what is lost.
Reading = tuple[Scale, list[str]]


def _uniform(said: Mapping[str, Any]) -> Reading:
    return Linear(*_ends(said)), []


def _int_uniform(said: Mapping[str, Any]) -> Reading:
    low, high = _ends(said)
    return Integer(low, high), []  # type: ignore[arg-type]  # which it makes whole, or refuses


def _log_uniform_values(said: Mapping[str, Any]) -> Reading:
    return Log(*_ends(said)), []


def _log_uniform(said: Mapping[str, Any]) -> Reading:
    """The ends are exponents of e, which people take for values, or for exponents of ten."""
    low, high = _ends(said)
    if 0 < low < high and (high <= 1 or high > 30):
        drew = f"{_exp(low):.6g} … {_exp(high):.6g}" if high <= 1 else f"e^{low:g} … e^{high:g}"
        return Log(low, high), [
            f"log_uniform takes exponents of e, so W&B drew {drew}; the ends are taken as the "
            "values that were meant"
        ]
    scale, notes = _exponents(low, high), []
    if -20 <= low < 0 and low == int(low) and high == int(high) <= 20:
        notes = [
            f"its ends are exponents of e; if powers of ten were meant, write "
            f"${{log:{10**low:g},{10**high:g}}}"
        ]
    return scale, notes


def _inv_log_uniform(said: Mapping[str, Any]) -> Reading:
    low, high = _ends(said)
    return _exponents(-high, -low), [INVERSE]


def _inv_log_uniform_values(said: Mapping[str, Any]) -> Reading:
    return Log(*_ends(said)), [INVERSE]


INVERSE = "1/x is log-uniform where x is, so W&B drew the same as log_uniform_values does"


def _normal(said: Mapping[str, Any]) -> Reading:
    return Linear(*_two_sigmas(said)), [NORMAL]


def _log_normal(said: Mapping[str, Any]) -> Reading:
    return _exponents(*_two_sigmas(said)), [NORMAL]


NORMAL = "a bell has no ends: two sigmas each way, which hold 95% of its draws, are drawn evenly"


def _beta(said: Mapping[str, Any]) -> Reading:
    return Linear(0, 1), ["no scale has the shape of a beta distribution: 0 … 1 is drawn evenly"]


def _in_steps(reader: Callable[[Mapping[str, Any]], Reading]) -> Callable[..., Reading]:
    def read(said: Mapping[str, Any]) -> Reading:
        scale, notes = reader(said)
        assert isinstance(scale, Linear)
        stepped, more = _stepped(scale, said)
        return stepped, notes + more

    return read


READERS: dict[str, Callable[[Mapping[str, Any]], Reading]] = {
    "uniform": _uniform,
    "int_uniform": _int_uniform,
    "q_uniform": _in_steps(_uniform),
    "log_uniform": _log_uniform,
    "log_uniform_values": _log_uniform_values,
    "q_log_uniform": _in_steps(_log_uniform),
    "q_log_uniform_values": _in_steps(_log_uniform_values),
    "inv_log_uniform": _inv_log_uniform,
    "inv_log_uniform_values": _inv_log_uniform_values,
    "normal": _normal,
    "q_normal": _in_steps(_normal),
    "log_normal": _log_normal,
    "q_log_normal": _in_steps(_log_normal),
    "beta": _beta,
    "q_beta": _in_steps(_beta),
    "constant": _uniform,  # these three are no ranges, and never get here
    "categorical": _uniform,
    "categorical_w_probabilities": _uniform,
}


def _stepped(scale: Linear, said: Mapping[str, Any]) -> Reading:
    """What W&B rounds to the nearest multiple of q, 1 where it is not said."""
    q = _number(said.get("q", 1))
    if q <= 0:
        raise ScaleError(f"q is {q:g}; it is the step of a stepped range, above 0")
    if q != int(q):
        return scale, [f"in steps of {q:g} in W&B; a fraction needs no steps"]
    step = int(q)
    first, last = (round(end / step) * step for end in (scale.low, scale.high))
    lost = [f"in steps of {step} in W&B; every whole number between the ends now"]
    if scale.logarithmic:
        return LogInteger(max(first, 1), last), lost if step > 1 else []
    if step == 1:
        return Integer(first, last), []
    if (last - first) // step < MOST:
        return Choice(tuple(range(first, last + 1, step))), []
    return Integer(first, last), lost


def _ends(said: Mapping[str, Any]) -> tuple[float, float]:
    return _number(_of(said, "min")), _number(_of(said, "max"))


def _two_sigmas(said: Mapping[str, Any]) -> tuple[float, float]:
    mu, sigma = _number(said.get("mu", 0)), _number(said.get("sigma", 1))
    low, high = round_significant([mu - 2 * sigma, mu + 2 * sigma], 12).tolist()  # 0.2 + 0.1
    return low, high


def _exponents(low: float, high: float) -> Log:
    """Between two powers of e, in the four digits that were meant: e^-9.21034 is 0.0001."""
    ends = [_exp(low), _exp(high)]
    short = round_significant(ends, 4).tolist()
    return Log(*(short if short[0] < short[1] else ends))


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        raise ScaleError(
            f"its end {exponent:g} is an exponent of e; for values write log_uniform_values"
        ) from None


def _of(said: Mapping[str, Any], word: str) -> Any:
    if word not in said:
        raise ScaleError(f"{word} is missing")
    return said[word]


def _plain(value: Any) -> Any:
    """A number that YAML took for text, because it has no dot in front of its e, as a number."""
    return float(value) if isinstance(value, str) and YAML_GAP.fullmatch(value) else value


def _number(value: Any) -> float:
    return number(_plain(value))
