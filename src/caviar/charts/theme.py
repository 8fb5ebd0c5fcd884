"""How all pictures look, in light and in dark. A description names no colour but through these.

`ink` is for what stands out (the best), `faint` for what is only to be known of.
"""

from __future__ import annotations

from typing import Any

# Okabe & Ito, "Color Universal Design" (2008): told apart by the colour-blind, too.
LIGHT = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
# The same hues, where the blue and the vermilion would drown in a dark ground.
DARK = ("#56B4E9", "#E69F00", "#2BC99B", "#E7A1C8", "#9AD1F5", "#FF8A4C")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def theme(dark: bool) -> dict[str, Any]:
    """The `config` of a Vega-Lite description."""
    ink, faint, grid = (
        ("#f2f2f2", "#8f959e", "#33373d") if dark else ("#111111", "#7a7f87", "#e6e8eb")
    )
    label = "#c9ced6" if dark else "#3b4048"
    return {
        "background": None if dark else "white",
        "font": FONT,
        "params": [{"name": "ink", "value": ink}, {"name": "faint", "value": faint}],
        "range": {
            "category": list(DARK if dark else LIGHT),
            "symbol": list(SYMBOLS),
            "heatmap": {"scheme": "viridis"},
            "ramp": {"scheme": "viridis"},
        },
        "view": {"stroke": None},
        "axis": {
            "labelColor": label,
            "titleColor": label,
            "gridColor": grid,
            "domainColor": faint,
            "tickColor": faint,
            "titleFontWeight": "normal",
            "labelFontSize": 11,
            "titleFontSize": 12,
        },
        "legend": {
            "orient": "top",
            "labelColor": label,
            "titleColor": label,
            "title": None,
            "labelFontSize": 12,
            "symbolStrokeWidth": 2,
            "symbolOpacity": 1,
            "columns": 3,
        },
        "title": {"color": ink, "anchor": "start", "fontSize": 14, "fontWeight": "normal"},
        "text": {"color": label},
        "rule": {"color": faint},
        "bar": {"color": (DARK if dark else LIGHT)[0]},
    }
