"""Default against winners over fresh seeds, and the test result, once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caviar.base.result import finite
from caviar.config.commands import caviar_command
from caviar.ledger import Trial
from caviar.pages.channels import metric_channel
from caviar.pages.marks import Chart, Spec, layers, points, table, table_of_rows, tooltip
from caviar.pages.page import Section, Table
from caviar.pages.snapshot import Snapshot
from caviar.screen.view import plural, setting_text
from caviar.search.verdict import DEFAULT, Setting, Verdict, mean_text

ROW = 40  # pixels of a setting


def confirm_section(snapshot: Snapshot) -> Section:
    """Each confirmed setting's seeds, their mean ± s.e.; the test set's values."""
    title = "Confirmation with fresh seeds"
    verdict = snapshot.verdict
    if verdict is None:
        words = [
            "Not confirmed yet. The best of many trials flatters itself: "
            f"{caviar_command('confirm', snapshot.study.name)} trains the default and the most "
            "promising settings with fresh seeds, and then opens the test set, once."
        ]
        if snapshot.confirmed:
            done = sum(t.finished for t in snapshot.confirmed)
            words = [f"{done} of {plural(len(snapshot.confirmed), 'training')} have finished."]
        return Section("confirm", title, words)
    words = [verdict.sentence(), *([caveat] if (caveat := verdict.caveat()) else [])]
    if verdict.test_metrics:
        # Of the others no checkpoint was tested: the test set does not choose.
        tested = verdict.rows()[: 1 if verdict.winner.note == DEFAULT else 2]
        results = [
            f"{name}: "
            + ", ".join(
                f"{mean_text(s.test[name])} of {s.name}" for _, s in tested if name in s.test
            )
            for name in verdict.test_metrics
        ]
        words.append(f"The test set was opened once. {'; '.join(results)}.")
    elif not verdict.decided:
        words.append("The test set stays shut until more seeds have decided it.")
    chart = _seeds_and_means(snapshot.metric, verdict.rows(), snapshot.confirmed)
    return Section("confirm", title, words, [chart] if chart else [], [_table(verdict)])


def _seeds_and_means(
    metric: str, settings: Sequence[tuple[str, Setting]], trials: Sequence[Trial]
) -> Chart | None:
    """Each seed as a point, each mean as a line across, ± s.e. as a bar; None without a value.

    Arguments:
        metric: its name.
        settings: by label.
        trials: of the confirmation, which know their seeds.
    """
    seed_of = {t.number: str(t.seed) for t in trials}
    seeds = [
        (label, seed_of.get(number, ""), value, f"{value:.4g}")
        for label, setting in settings
        for value, number in zip(setting.values, setting.trials, strict=True)
        if math.isfinite(value)
    ]
    if not seeds:
        return None
    # One seed has a mean and no error; a setting that diverged has neither.
    means = [
        (label, s.mean, s.standard_error if math.isfinite(s.standard_error) else 0.0)
        for label, s in settings
        if math.isfinite(s.mean)
    ]
    intervals = [(label, mean - error, mean + error) for label, mean, error in means]
    values = [s[2] for s in seeds] + [end for _, *pair in intervals for end in pair]
    # As of a metric to be maximised, linear: mean and error are those of the values themselves.
    across = metric_channel("x", metric, values, "max") | {"axis": {"tickCount": 8}}
    labels = [label for label, _ in settings]
    up: Spec = {"field": "setting", "type": "nominal", "title": None, "sort": labels}
    colour = {"field": "setting", "type": "nominal", "legend": None, "sort": labels}
    errors: Spec = {
        "data": table_of_rows(("setting", "x", "high"), intervals),
        "mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.35, "color": {"expr": "ink"}},
        "encoding": {"x": across, "x2": {"field": "high"}, "y": up},
    }
    middles: Spec = {
        "data": table({"setting": [m[0] for m in means], "x": [m[1] for m in means]}),
        "mark": {"type": "tick", "thickness": 3, "size": 26, "color": {"expr": "ink"}},
        "encoding": {"x": across, "y": up},
    }
    says = tooltip({"setting": "setting", "seed": "seed", "shown": metric})
    columns = dict(zip(("setting", "seed", "x", "shown"), zip(*seeds, strict=True), strict=True))
    encoding = {"x": across, "y": up, "color": colour, "tooltip": says}
    each = points(columns, encoding, size=70, opacity=0.85)
    return Chart(
        "confirm",
        "Each fresh seed, and mean ± standard error",
        layers(errors, each, middles, height=max(90, ROW * len(settings))),
    )


def _table(verdict: Verdict) -> Table:
    """Every setting, by the trial that found it: its mean, its seeds, what it is."""
    rows = []
    for label, setting in verdict.rows():
        each = ", ".join("none" if finite(v) is None else f"{v:.4g}" for v in setting.values)
        shown = setting_text(setting.point or verdict.defaults)
        rows.append([label, mean_text(setting.values), each, shown])
    return Table(["setting", f"{verdict.metric}, mean ± s.e.", "each seed", "is"], rows)
