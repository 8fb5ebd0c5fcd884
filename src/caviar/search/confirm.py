"""Confirm: the best few again with fresh seeds, then the test set, once.

The best of n trials flatters itself: even equal settings differ by luck, and the maximum picks
the luck. So the default and the best three race with fresh seeds (`race.py`): in each round those
that are left get one more, and the worse half of the candidates drops out. What is reported is
their mean ± s.e., never the search's own best value.

Where a gain is seen and not shown at the end, the test set stays shut, and more seeds can be given
to the same candidates.

The ledger holds the rounds that were given out, and each follows from the values before it: after a
kill, or by two drivers at once, the race goes on the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import OmegaConf

from caviar.base.errors import SearchFailed, UserError
from caviar.base.result import COMPLETE, test_metric
from caviar.config.kept import kept_config
from caviar.config.keys import LIGHTNING
from caviar.ledger import Planned, Trial
from caviar.refine import candidates
from caviar.search import race
from caviar.search.driver import how_to_mend, print_commands, run_trials
from caviar.search.pooled import pooled_trials
from caviar.search.provenance import refuse_edited_conf
from caviar.search.settings import ALWAYS, CONFIRM, TEST, VERDICT
from caviar.search.stages import LOWER, shared_overrides
from caviar.search.study import Study
from caviar.search.verdict import (
    DEFAULT,
    Setting,
    Verdict,
    deviation,
    paired_gain,
    read_verdict,
)
from caviar.space import Space
from caviar.space.sampling import trial_seed


def confirm(study: Study) -> Verdict:
    """Run the confirmation and, once it is decided, open the test set; or continue doing so."""
    spec = confirm_spec(study)
    overrides, chosen = spec["overrides"], spec["settings"]
    # From here on the candidates are fixed: more trials of the search change them no more.
    study.begin(CONFIRM, spec)
    trials = _race(study, chosen, overrides)
    settings = _settings(study, chosen, trials)
    default, best = settings[0], race.leader(_losses(study, chosen, trials))
    # A gain that is not shown is a candidate's all the same; the verdict says so.
    ahead = best is not None and paired_gain(default, settings[best], study.mode).gain > 0
    winner = settings[best] if best is not None and ahead else default
    if not math.isfinite(winner.mean):
        raise SearchFailed(
            "every confirmed setting diverged or failed with at least one of its fresh seeds; "
            f"{LOWER}"
        )
    coarse = study.begun_sweep(study.search_stages()[0]).space
    stages = [s for s in study.ledger.stages() if s != TEST]
    ran = [t for s in stages for t in study.ledger.trials(s) if not t.waiting]
    finite = [v for v in default.values if math.isfinite(v)]
    config = study.compose(overrides)
    defaults = {axis.key: OmegaConf.select(config, axis.key) for axis in coarse}
    verdict = Verdict(
        metric=study.metric,
        mode=study.mode,
        noise=deviation(finite),
        default=default,
        winner=winner,
        others=[s for s in settings if s is not default and s is not winner],
        trials=len(ran),
        stopped=sum(trial.stopped for trial in ran),
        defaults={
            k: v for k, v in defaults.items() if isinstance(v, str | int | float | bool | None)
        },
    )
    verdict.looks = _looks(study, verdict)
    # A study of an earlier version has its fixed seeds, and can be given no more.
    asked = (study.settings.confirm.test, spec["confirm"].get("test"))  # now, or when it was begun
    goes_on = verdict.open and ALWAYS not in asked
    verdict.decided = not goes_on or study.tested or bool(_fixed_plan(study, chosen))
    if verdict.decided:
        _open_test_set(study, spec, [default, winner])
    return verdict


def _looks(study: Study, verdict: Verdict) -> int:
    """How often these candidates were judged before, with fewer seeds."""
    path = study.folder / VERDICT
    if not path.exists():
        return 0
    before = read_verdict(path)
    return before.looks + (before.spent < verdict.spent)


def print_plan(study: Study) -> None:
    """A dry run: the commands of the trainings that are known, which is those of the next round."""
    spec = confirm_spec(study)
    overrides, chosen = spec["overrides"], spec["settings"]
    begun = study.ledger.trials(CONFIRM) if CONFIRM in study.stages() else []
    first = _fixed_plan(study, chosen) or _round(study, chosen, range(len(chosen)), [])
    print_commands(study, [t.planned for t in begun] or first, overrides)


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
    if CONFIRM not in study.stages():
        return spec | {"settings": _settings_to_confirm(study)}
    begun = study.ledger.spec(CONFIRM)
    same = spec | {"settings": begun["settings"]}
    before, asked = begun.get("confirm", {}), study.settings.confirm
    # An earlier version's study has its fixed seeds; a race may be given a larger budget.
    if before.get("budget", 0) <= asked.budget and before.get("top", 0) == asked.top:
        same["confirm"] = before
    return same


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
            "note": f"{pooled[i].stage}/{pooled[i].number}",
            "point": pooled[i].point,
            "origin": f"{pooled[i].stage}/{pooled[i].number}",
        }
        for i in best
    ]
    return [{"note": DEFAULT, "point": {}, "origin": ""}, *chosen]


def _race(study: Study, chosen: Sequence[dict[str, Any]], overrides: Sequence[str]) -> list[Trial]:
    """Run the confirmation's rounds until the race is over; its trials."""
    fixed = _fixed_plan(study, chosen)
    while True:
        plan = [t.planned for t in study.ledger.trials(CONFIRM)] or fixed
        # Candidates may lie outside of the coarse walls, so they are shown as points only.
        trials = run_trials(study, CONFIRM, plan, Space(()), overrides) if plan else []
        _refuse_failed_default(study, trials)
        # What is being tested was decided before the first look.
        if fixed or TEST in study.stages():
            return trials
        losses = _losses(study, chosen, trials)
        # More seeds for a verdict that was left open are looked at more strictly.
        stricter = race.AGAIN if (study.folder / VERDICT).exists() else race.STRICTER
        settings = race.next_seeds(losses, study.settings.confirm.budget, stricter)
        if not settings:
            return trials
        study.ledger.extend(CONFIRM, plan + _round(study, chosen, settings, plan), Space(()))


def _round(
    study: Study,
    chosen: Sequence[dict[str, Any]],
    settings: Iterable[int],
    before: Sequence[Planned],
) -> list[Planned]:
    """One more seed for each of these settings. Seed k is the same for all: what it does to all of
    them cancels."""
    done = Counter(planned.note for planned in before)
    return [
        Planned(c["point"], trial_seed(study.settings.seed, CONFIRM, done[c["note"]]), c["note"])
        for c in (chosen[i] for i in settings)
    ]


def _fixed_plan(study: Study, chosen: Sequence[dict[str, Any]]) -> list[Planned]:
    """Of a study that an earlier version began to confirm, with so many seeds each; else none."""
    return [
        Planned(c["point"], trial_seed(study.settings.seed, CONFIRM, k), c["note"])
        for c in chosen
        for k in range(c.get("seeds", 0))
    ]


def _losses(
    study: Study, chosen: Sequence[dict[str, Any]], trials: Sequence[Trial]
) -> list[list[float]]:
    """What the race sees of each setting. A seed with which it diverged or failed counts as worst:
    a setting that does so sometimes is no winner, whatever its other seeds gave."""
    sign = 1 if study.mode == "min" else -1
    return [[sign * _value(study, t) for t in trials if t.note == c["note"]] for c in chosen]


def _value(study: Study, trial: Trial) -> float:
    result = trial.result
    if trial.status == COMPLETE and result is not None and result.best is not None:
        return result.best
    return math.inf if study.mode == "min" else -math.inf


def _refuse_failed_default(study: Study, trials: Sequence[Trial]) -> None:
    """Without the default there is nothing to compare with, and no round is worth its cost.

    Raises:
        SearchFailed: all of its runs failed.
    """
    results = [t.result for t in trials if t.note == DEFAULT and t.result]
    if len(results) > 1 and all(result.failed for result in results):  # one may be its seed's fault
        raise SearchFailed(
            f"every run of the default setting failed, the first with\n  {results[0].error}\n"
            f"{how_to_mend(study, CONFIRM)}"
        )


def _settings(
    study: Study, chosen: Sequence[dict[str, Any]], trials: Sequence[Trial]
) -> list[Setting]:
    """What the seeds gave, default first. A failed run of the default says nothing of it, and its
    seed is left out of every setting: the first values are those of the same seed, and so on."""
    lost = {t.seed for t in trials if t.note == DEFAULT and t.failed}
    settings = []
    for c in chosen:
        own = [t for t in trials if t.note == c["note"] and t.seed not in lost]
        values, numbers = [_value(study, t) for t in own], [t.number for t in own]
        settings.append(Setting(c["note"], c["point"], values, numbers, c["origin"]))
    return settings


def _open_test_set(study: Study, spec: Mapping[str, Any], settings: Sequence[Setting]) -> None:
    """Test the checkpoints that confirmation left. The ledger's stage `test` is the seal: what it
    lists was decided before the first look, and a trial of it that has told something never runs
    again. One that failed does: nobody has seen what it would have told.

    A project's own task is handed no checkpoint, since what it would do with one is its affair: it
    trains once more, by the same seed, and its test set is open this time.
    """
    again = study.keys.kind != LIGHTNING
    if again and study.keys.test is None:
        return
    # The default and the winner alone: a test value of the others could only tempt.
    planned: list[Planned] = []
    tested_settings: list[Setting] = []
    by_note = {s.note: s for s in settings}  # the default may have won
    confirmed = study.ledger.trials(CONFIRM)
    for setting in by_note.values():
        for number in setting.trials:
            result = confirmed[number].result
            if result is None or result.status != COMPLETE:
                continue
            if result.checkpoint is None and not again:
                continue
            seed, checkpoint = confirmed[number].seed, None if again else result.checkpoint
            planned.append(Planned(setting.point, seed, setting.note, checkpoint))
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
