"""Confirm: the best few again with fresh seeds, then the test set, once.

The best of n trials flatters itself: even equal settings differ by luck, and the maximum picks
the luck. So the default setting is run with several seeds for the noise floor σ, the best three
with fresh seeds, and what is reported is their mean ± s.e., never the search's own best value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import OmegaConf

from caviar.base.errors import SearchFailed, UserError
from caviar.base.result import COMPLETE, test_metric
from caviar.config.kept import kept_config
from caviar.ledger import Planned, Trial
from caviar.refine import candidates
from caviar.search.driver import how_to_mend, print_commands, run_trials
from caviar.search.provenance import refuse_edited_conf
from caviar.search.settings import CONFIRM, TEST
from caviar.search.stages import LOWER, pooled_trials, shared_overrides
from caviar.search.study import Study
from caviar.search.verdict import DEFAULT, Setting, Verdict, deviation
from caviar.space import Space
from caviar.space.sampling import trial_seed


def confirm(study: Study) -> Verdict:
    """Run the confirmation and open the test set, or continue doing so."""
    spec = confirm_spec(study)
    overrides, chosen = spec["overrides"], spec["settings"]
    # From here on the candidates are fixed: more trials of the search change them no more.
    study.begin(CONFIRM, spec)
    # Candidates may lie outside of the coarse walls, so they are shown as points only.
    trials = run_trials(study, CONFIRM, _plan(study, chosen), Space(()), overrides)
    settings = _settings(study, chosen, trials)
    sign = 1 if study.mode == "min" else -1
    default = settings[0]
    winner = min(settings, key=lambda s: sign * s.mean)
    if not math.isfinite(winner.mean):
        raise SearchFailed(
            f"every confirmed setting diverged with at least one of its fresh seeds; {LOWER}"
        )
    _open_test_set(study, spec, [default, winner])
    coarse = study.begun_sweep(study.search_stages()[0]).space
    stages = [s for s in study.ledger.stages() if s != TEST]
    ran = sum(not t.waiting for s in stages for t in study.ledger.trials(s))
    finite = [v for v in default.values if math.isfinite(v)]
    config = study.compose(overrides)
    defaults = {axis.key: OmegaConf.select(config, axis.key) for axis in coarse}
    return Verdict(
        metric=study.metric,
        mode=study.mode,
        noise=deviation(finite),
        default=default,
        winner=winner,
        others=[s for s in settings if s is not default and s is not winner],
        trials=ran,
        defaults={
            k: v for k, v in defaults.items() if isinstance(v, str | int | float | bool | None)
        },
    )


def print_plan(study: Study) -> None:
    """A dry run: the commands of the trainings to come."""
    spec = confirm_spec(study)
    overrides, chosen = spec["overrides"], spec["settings"]
    print_commands(_plan(study, chosen), overrides, study.sources)


def confirm_spec(study: Study) -> dict[str, Any]:
    """What is confirmed and how: the overrides of every run, and the settings, default first.

    The overrides are the study's own, without what a stage trained with for itself (fewer epochs,
    a smaller model), and then the command line's: settings tuned on a small model may hurt a
    large one, so they are confirmed at target size. The settings are decided once; a study that
    goes on keeps them.

    Raises:
        UserError: conf/ was edited since the search, and the command line does not say what counts.
    """
    overrides = list(shared_overrides(study))
    if CONFIRM not in study.stages():
        refuse_edited_conf(study, overrides, searching=False)
    spec = {
        "overrides": overrides,
        "config": kept_config(study.compose(overrides)),
        "sources": list(study.sources),
        "seed": study.settings.seed,
        "confirm": asdict(study.settings.confirm),
    }
    if CONFIRM in study.stages():
        return spec | {"settings": study.ledger.spec(CONFIRM)["settings"]}
    return spec | {"settings": _settings_to_confirm(study)}


def _settings_to_confirm(study: Study) -> list[dict[str, Any]]:
    parent = study.search_stages()[-1]
    coarse, _, pooled = pooled_trials(study, parent)
    points = [t.point for t in pooled]
    losses = [t.result.loss(study.mode) for t in pooled if t.result]
    best = candidates(coarse, points, losses, study.settings.confirm.top, study.settings.refine)
    if not best:
        raise UserError(
            f"stage {parent} of study {study.name} has no trial that finished and did not "
            f"diverge; {LOWER}"
        )
    chosen = [
        {
            "note": f"candidate {rank}",
            "point": pooled[i].point,
            "origin": f"{pooled[i].stage}/{pooled[i].number}",
            "seeds": study.settings.confirm.seeds,
        }
        for rank, i in enumerate(best, start=1)
    ]
    seeds = study.settings.confirm.default_seeds
    return [{"note": DEFAULT, "point": {}, "origin": "", "seeds": seeds}, *chosen]


def _plan(study: Study, chosen: Sequence[dict[str, Any]]) -> list[Planned]:
    """Seed k is the same for every setting: what it does to all of them cancels."""
    return [
        Planned(c["point"], trial_seed(study.settings.seed, CONFIRM, k), c["note"])
        for c in chosen
        for k in range(c["seeds"])
    ]


def _settings(
    study: Study, chosen: Sequence[dict[str, Any]], trials: Sequence[Trial]
) -> list[Setting]:
    """What the seeds gave, default first. A failed run says nothing of its setting."""
    worst = math.inf if study.mode == "min" else -math.inf
    settings = []
    for c in chosen:
        runs = [t for t in trials if t.note == c["note"]]
        own = [t for t in runs if t.result and not t.result.failed]
        if not own and c["note"] == DEFAULT:
            reason = runs[0].result.error if runs[0].result else ""
            raise SearchFailed(
                f"every run of the default setting failed, the first with\n  {reason}\n"
                f"{how_to_mend(study, CONFIRM)}"
            )
        if not own:  # the view has said so
            continue
        # A seed with which it diverged counts as worst: a setting that does so sometimes is no
        # winner, whatever its other seeds gave.
        values = [
            t.result.best
            if t.status == COMPLETE and t.result and t.result.best is not None
            else worst
            for t in own
        ]
        numbers = [t.number for t in own]
        settings.append(Setting(c["note"], c["point"], values, numbers, c["origin"]))
    return settings


def _open_test_set(study: Study, spec: Mapping[str, Any], settings: Sequence[Setting]) -> None:
    """Test the checkpoints that confirmation left. The ledger's stage `test` is the seal: what it
    lists was decided before the first look, and a trial of it that has told something never runs
    again. One that failed does: nobody has seen what it would have told."""
    # The default and the winner alone: a test value of the others could only tempt.
    planned: list[Planned] = []
    tested_settings: list[Setting] = []
    by_note = {s.note: s for s in settings}  # the default may have won
    confirmed = study.ledger.trials(CONFIRM)
    for setting in by_note.values():
        for number in setting.trials:
            result = confirmed[number].result
            if result is None or result.checkpoint is None or result.status != COMPLETE:
                continue
            seed = confirmed[number].seed
            planned.append(Planned(setting.point, seed, setting.note, result.checkpoint))
            tested_settings.append(setting)
    numbers = {s.note: s.trials for s in by_note.values()}
    how = {name: spec[name] for name in ("overrides", "config", "sources")}
    study.begin(TEST, {**how, "settings": numbers})
    for trial in study.ledger.trials(TEST):
        if trial.failed:
            study.ledger.retry(TEST, trial.number)
    metric = test_metric(study.metric)
    tested = run_trials(study, TEST, planned, Space(()), how["overrides"], metric)
    for setting, trial in zip(tested_settings, tested, strict=True):
        assert trial.result is not None
        for name, value in sorted(trial.result.metrics.items()):  # nothing else was measured
            setting.test.setdefault(name, []).append(math.nan if value is None else value)
