"""Pictures as Vega-Lite: one description, drawn by the page's script and into PNG files alike.

theme.py   colours in light and dark, told apart by the colour-blind, too
parts.py   data, a hyperparameter's axis on its own scale, the metric's axis
png.py     PNG files, drawn without a browser
"""

from caviar.charts.parts import Chart, axis_channel, layers, metric_channel, table
from caviar.charts.png import Drawing, write_png

__all__ = ["Chart", "Drawing", "axis_channel", "layers", "metric_channel", "table", "write_png"]
