"""A learning curve in characters, with its nudges marked below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def plot(
    points: Sequence[tuple[float, float]],
    marks: Sequence[float],
    width: int,
    height: int,
    logarithmic: bool,
) -> list[str]:
    """Lines of text, `height` of them for the curve and two for its axis.

    Arguments:
        points: steps and finite values, in order.
        marks: steps at which something was changed.
        width: of the whole, in characters.
        height: of the curve, in lines.
        logarithmic: the vertical axis, if all values are above 0.
    """
    if not points:
        return ["no value yet"]
    logarithmic = logarithmic and min(v for _, v in points) > 0
    scaled = [(s, math.log(v) if logarithmic else v) for s, v in points]
    left, right = points[0][0], max(points[-1][0], points[0][0] + 1)
    low, high = min(v for _, v in scaled), max(v for _, v in scaled)
    high = high if high > low else low + 1
    columns = max(10, width - 10)

    def column(step: float) -> int:
        return round((step - left) / (right - left) * (columns - 1))

    def row(value: float) -> int:
        return round((high - value) / (high - low) * (height - 1))

    cells = [[" "] * columns for _ in range(height)]
    for (s1, v1), (s2, v2) in pairwise(scaled):
        first, last = column(s1), column(s2)
        for c in range(first + 1, last):  # the way between two values, lightly
            share = (c - first) / (last - first)
            cells[row(v1 + share * (v2 - v1))][c] = "·"
    for s, v in scaled:
        cells[row(v)][column(s)] = "●"
    axis = ["─"] * columns
    for mark in marks:
        if left <= mark <= right:
            axis[column(mark)] = "▲"
    lines = []
    for number, line in enumerate(cells):
        value = high - number / max(1, height - 1) * (high - low)
        shown = f"{math.exp(value) if logarithmic else value:.3g}"
        label = shown if number in (0, height // 2, height - 1) else ""
        lines.append(f"{label:>8} │{''.join(line)}")
    lines.append(f"{'':>8} └{''.join(axis)}")
    ends = f"{f'step {left:.0f}':<{columns - 8}}{right:>8.0f}"
    lines.append(f"{'':>10}{ends}")
    return lines
