"""Confirm: the best few again with fresh seeds, then the test set, once.

The best of n trials flatters itself: even equal settings differ by luck, and the maximum picks
the luck. So the default setting is run with several seeds for the noise floor σ, the best three
with fresh seeds, and what is reported is their mean ± s.e., never the search's own best value.

The winner is then left as files: its best checkpoint, and an experiment that trains it again.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from caviar.base import project
from caviar.base.errors import SearchFailed, UserError
from caviar.base.files import replaced
from caviar.base.result import COMPLETE, test_metric
from caviar.config.commands import set_to, train_command
from caviar.config.kept import kept_config
from caviar.ledger import Planned, Trial
from caviar.refine import candidates
from caviar.search.driver import how_to_mend, print_commands, run_trials
from caviar.search.provenance import refuse_edited_conf
from caviar.search.settings import CONFIRM, TEST
from caviar.search.stages import LOWER, pooled_trials, shared_overrides
from caviar.search.study import Study
from caviar.search.verdict import DEFAULT, Setting, Verdict, deviation
from caviar.space import OneMinusLog, Space
from caviar.space.sampling import trial_seed
from caviar.space.scales import one_minus

Left = tuple[Path, str]  # a file, and what it is
Confirmed = Callable[[Study], list[Left]]  # what is done when a study has been confirmed


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


def write_winner(study: Study, verdict: Verdict) -> list[Left]:
    """Write `best.ckpt` and `conf/experiment/<study>_winner.yaml` into the study's folder."""
    left = []
    confirmed = study.ledger.trials(CONFIRM)
    results = [confirmed[n].result for n in verdict.winner.trials]
    with_checkpoint = [r for r in results if r and r.checkpoint and r.best is not None]
    if with_checkpoint:
        best = min(with_checkpoint, key=lambda r: r.loss(study.mode))
        assert best.checkpoint is not None
        target = study.folder / "best.ckpt"
        whose = "default setting" if verdict.winner.note == DEFAULT else "winner"
        what = f"the {whose}'s best checkpoint, seed {best.seed}"
        if Path(best.checkpoint).exists():
            with replaced(target) as partial:
                shutil.copyfile(best.checkpoint, partial)
        else:  # confirmed by a worker with a disk of its own
            where = confirmed[verdict.winner.trials[results.index(best)]].host
            target, what = Path(best.checkpoint), f"{what}, on {where}"
        left.append((target, what))
    overrides = study.ledger.spec(CONFIRM)["overrides"]
    path = study.folder / "conf" / "experiment" / f"{study.name}_winner.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    choices = study.compose(overrides).hydra.runtime.choices
    command = winner_command(study, project.root())
    text = winner_text(study.name, choices, verdict, overrides, command)
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")
    left.append((path, winner_command(study)))
    return left


def winner_command(study: Study, at: Path | None = None) -> str:
    """What trains the winner again.

    Arguments:
        study: that has one.
        at: the folder that the command is run in; by default the present one.
    """
    return train_command([set_to("experiment", f"{study.name}_winner")], study.sources, at)


def winner_text(
    study: str,
    choices: Mapping[str, Any],
    verdict: Verdict,
    overrides: Sequence[str],
    command: str,
) -> str:
    """An experiment file: the experiment that the search was about, the overrides of the search,
    and the winning values on top.

    Arguments:
        study: its name.
        choices: what its config chose of every config group.
        verdict: with the winner.
        overrides: of the search.
        command: what trains the winner.
    """
    groups, values, lost = _split(overrides, choices)
    groups.pop("experiment", None)
    base = choices.get("experiment")  # be it by default or by an override
    defaults: list[Any] = [str(base)] if base is not None else []
    defaults += [{f"override /{group}": choice} for group, choice in groups.items()]
    defaults.append("_self_")
    for name, value in verdict.winner.point.items():
        if name.startswith(OneMinusLog.prefix):
            name, value = name.removeprefix(OneMinusLog.prefix), one_minus(value)
        _put(values, name, value)
    lines = [
        "# @package _global_",
        f"# Winner of study {study}: {command}",
        f"# {verdict.sentence()}",
        *(f"# The search also had {override}; write it on the command line." for override in lost),
    ]
    # A name of its own: a search around the winner is another study.
    values["name"] = f"{study}_winner"
    body = yaml.safe_dump({"defaults": defaults, **values}, sort_keys=False)
    return "\n".join(lines) + "\n" + body


def _split(
    overrides: Sequence[str], choices: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Config groups, values, and what a file cannot say (deletions, Hydra's own)."""
    groups: dict[str, Any] = {}
    values: dict[str, Any] = {}
    lost: list[str] = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if override.is_delete() or key.startswith("hydra"):
            lost.append(str(override.input_line))
        elif key in choices:
            groups[key] = override.value()
        elif key.startswith(OneMinusLog.prefix):
            natural = one_minus(float(str(override.value())))
            _put(values, key.removeprefix(OneMinusLog.prefix), natural)
        else:
            _put(values, key, override.value())
    return groups, values, lost


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
    tree[last] = value
