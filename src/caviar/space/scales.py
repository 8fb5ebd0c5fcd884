"""The six scales: how one axis of a space is drawn.

    >>> Log(1e-4, 1.0).from_unit(0.5)
    array(0.01)

A scale maps the unit interval to *search coordinates* and back. For five of the six the search
coordinate is the value itself; for `one_minus_log` it is the complement 1-β, because what matters
about a momentum β is how many steps it averages over, about 1/(1-β). Points outside [0, 1] are
legal in both directions: that is how a range is asked to grow.

All maps are vectorised over NumPy arrays. Continuous values are rounded to six significant digits:
enough to tell any two settings apart, few enough to be read, typed and reproduced exactly.
"""

from __future__ import annotations

from typing import Any

from caviar.space.continuous import Linear, Log, OneMinusLog, ScaleError
from caviar.space.discrete import Choice, Integer, LogInteger

Scale = Linear | Choice
SCALES: dict[str, type[Linear] | type[Choice]] = {
    cls.kind: cls for cls in (Log, OneMinusLog, Linear, Integer, LogInteger, Choice)
}


def scale_from_dict(declared: dict[str, Any]) -> Scale:
    """The scale that a resolver described, in natural values: {"scale": "log", "low": …}."""
    kind = declared.get("scale")
    if kind == "choice":
        return Choice(tuple(declared.get("values") or ()))
    if kind not in SCALES:
        raise ScaleError(f"{kind!r} is no scale; use one of {', '.join(SCALES)}")
    cls = SCALES[kind]
    assert issubclass(cls, Linear)
    build = cls.from_natural if issubclass(cls, OneMinusLog) else cls
    low: Any = declared.get("low")  # `number` says what is wrong with a missing one
    high: Any = declared.get("high")
    return build(low, high)
