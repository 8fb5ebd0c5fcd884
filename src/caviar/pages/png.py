"""How pictures look, light and dark, and their PNG files, drawn without a browser.

    with Drawing() as drawing:
        drawing.draw(chart, path)      # comes back at once

The same library draws as in the page. It holds Python's lock while it draws, so a process of its
own draws beside what else is done.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from caviar.base.files import replaced
from caviar.pages.marks import Chart

WIDTH = 620  # of the drawing, without axis labels
SHARP = 2.0  # pixels a unit
DISK = 74  # exit code of a process that could not write: EX_IOERR of sysexits.h
# Okabe & Ito, "Color Universal Design" (2008): told apart by the colour-blind, too.
LIGHT = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
# The same hues, where the blue and the vermilion would drown in a dark ground.
DARK = ("#56B4E9", "#E69F00", "#2BC99B", "#E7A1C8", "#9AD1F5", "#FF8A4C")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def theme(dark: bool) -> dict[str, Any]:
    """The `config` of a Vega-Lite description, which names no colour but through this.

    `ink` is for what stands out (the best), `faint` for what is only to be known of.
    """
    ink, faint, grid = (
        ("#f2f2f2", "#8f959e", "#33373d") if dark else ("#111111", "#7a7f87", "#e6e8eb")
    )
    label = "#c9ced6" if dark else "#3b4048"
    return {
        "background": None if dark else "white",
        "font": FONT,
        "params": [
            {"name": "ink", "value": ink},
            {"name": "faint", "value": faint},
            {"name": "kept", "value": None},  # the page's filters: see marks.DIMMED
        ],
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


def write_png(chart: Chart, path: Path, width: int = WIDTH) -> Path:
    """Draw a picture on white, into a file that is whole or not there.

    Arguments:
        chart: with data of its own.
        path: of the file.
        width: of the drawing, in units of 1/SHARP pixels.
    """
    import vl_convert

    shown = {"width": width, "title": chart.title, "config": theme(dark=False)}
    spec = {**shown, **_still(chart.spec)}
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = vl_convert.vegalite_to_png(spec, scale=SHARP, allowed_base_urls=[])
    with replaced(path) as partial:
        partial.write_bytes(drawn)
    return path


def _still(spec: Any) -> Any:
    """A description that nobody zooms, and so without clipping, which an interval bound to scales
    brings along, too: to clip each of a thousand lines takes a minute."""
    if isinstance(spec, list):
        return [_still(p) for p in spec if not (isinstance(p, dict) and p.get("bind") == "scales")]
    if not isinstance(spec, dict):
        return spec
    still = {k: v if k == "data" else _still(v) for k, v in spec.items() if k != "clip"}
    return {**still, "clamp": True} if "clamp" in spec else still  # nothing leaves the frame


class Drawing:
    """A process that draws pictures, one after another; on leaving, all of them are there."""

    def __enter__(self) -> Drawing:
        # -P: a folder named caviar in the working directory is not us.
        command = [sys.executable, "-P", "-m", "caviar.pages.png"]
        self._errors = TemporaryFile("w+")  # a pipe that nobody reads would fill up
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8"
        )
        self._feeding = ThreadPoolExecutor(1)  # a pipe takes no more than is drawn
        return self

    def draw(self, chart: Chart, path: Path) -> Path:
        """Have a picture drawn; its path, where it will be."""
        assert self._process.stdin is not None
        line = json.dumps({"chart": asdict(chart), "path": str(path)}) + "\n"
        self._feeding.submit(self._process.stdin.write, line)
        return path

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._process.kill()
        self._feeding.shutdown()
        self._process.communicate()
        with self._errors:
            self._errors.seek(0)
            errors = self._errors.read().strip()
        if kind is not None:
            return  # the error that ended the sections is the one to be told
        if self._process.returncode == DISK:
            raise OSError(*json.loads(errors.splitlines()[-1]))
        if self._process.returncode != 0:
            raise RuntimeError(f"pictures could not be drawn: {errors}")


def main() -> None:
    """Draw what comes in, a picture a line."""
    for line in sys.stdin:
        job = json.loads(line)
        try:
            write_png(Chart(**job["chart"]), Path(job["path"]))
        except OSError as error:
            # A full disk is told from a picture that cannot be drawn; the other process raises it.
            print(json.dumps([error.errno, error.strerror, job["path"]]), file=sys.stderr)
            raise SystemExit(DISK) from None


if __name__ == "__main__":
    main()
