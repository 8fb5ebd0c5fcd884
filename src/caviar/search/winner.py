"""The winner of a study as files: its best checkpoint, and an experiment that trains it again.

runs/digits/best.ckpt
runs/digits/conf/experiment/digits_winner.yaml      # python train.py experiment=digits_winner

Where no setting is shown to be better than the default, both are the default's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from caviar.base import project
from caviar.base.files import replaced
from caviar.config.commands import set_to, train_command
from caviar.search.settings import CONFIRM
from caviar.search.study import Study
from caviar.search.verdict import Setting, Verdict
from caviar.space import OneMinusLog
from caviar.space.scales import one_minus

WINNER, CANDIDATE = "winner", "candidate"  # behind the study's name, of its experiments

Left = tuple[Path, str]  # a file, and what it is
Confirmed = Callable[[Study], list[Left]]  # what is done when a study has been confirmed


def write_winner(study: Study, verdict: Verdict) -> list[Left]:
    """Write what the verdict says to go on with, `best.ckpt` and
    `conf/experiment/<study>_winner.yaml`, into the study's folder.

    That is the winner only where it is shown to be better, and else the default; a candidate that
    is not shown to be has `conf/experiment/<study>_candidate.yaml`.
    """
    left = []
    kept = verdict.kept
    name = "the default" if kept is verdict.default else kept.name
    what = "the winner" if verdict.clear else f"{name}, as the verdict says"
    confirmed = study.ledger.trials(CONFIRM)
    results = [confirmed[n].result for n in kept.trials]
    with_checkpoint = [r for r in results if r and r.checkpoint and r.best is not None]
    if with_checkpoint:
        best = min(with_checkpoint, key=lambda r: r.loss(study.mode))
        assert best.checkpoint is not None
        target = study.folder / "best.ckpt"
        of = f"the best checkpoint of {what}, seed {best.seed}"
        if Path(best.checkpoint).exists():
            with replaced(target) as partial:
                shutil.copyfile(best.checkpoint, partial)
        else:  # confirmed by a worker with a disk of its own
            where = confirmed[kept.trials[results.index(best)]].host
            target, of = Path(best.checkpoint), f"{of}, on {where}"
        left.append((target, of))
    left.append((_write_experiment(study, verdict, kept, WINNER), what))
    candidate = experiment_path(study, CANDIDATE)
    candidate.unlink(missing_ok=True)  # of fewer seeds
    if verdict.open:
        _write_experiment(study, verdict, verdict.winner, CANDIDATE)
        left.append((candidate, f"{verdict.winner.name}, not shown to be better"))
    return left


def experiment_path(study: Study, suffix: str) -> Path:
    """Where the experiment of a setting that was confirmed lies."""
    return study.folder / "conf" / "experiment" / f"{study.name}_{suffix}.yaml"


def _write_experiment(study: Study, verdict: Verdict, setting: Setting, suffix: str) -> Path:
    """An experiment that trains a setting again; its file."""
    overrides = study.ledger.spec(CONFIRM)["overrides"]
    path = experiment_path(study, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    choices = study.compose(overrides).hydra.runtime.choices
    command = winner_command(study, project.root(), suffix)
    text = winner_text(study.name, choices, verdict, overrides, command, setting)
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def winner_command(study: Study, at: Path | None = None, suffix: str = WINNER) -> str:
    """What trains the winner again, or the candidate.

    Arguments:
        study: that has one.
        at: the folder that the command is run in; by default the present one.
        suffix: of the experiment's name.
    """
    return train_command([set_to("experiment", f"{study.name}_{suffix}")], study.sources, at)


def winner_text(
    study: str,
    choices: Mapping[str, Any],
    verdict: Verdict,
    overrides: Sequence[str],
    command: str,
    setting: Setting,
) -> str:
    """An experiment file: the experiment that the search was about, the overrides of the search,
    and a setting's values on top.

    Arguments:
        study: its name.
        choices: what its config chose of every config group.
        verdict: of the study.
        overrides: of the search.
        command: what trains it.
        setting: the winner, the default or a candidate.
    """
    groups, values, lost = _split(overrides, choices)
    groups.pop("experiment", None)
    base = choices.get("experiment")  # be it by default or by an override
    defaults: list[Any] = [str(base)] if base is not None else []
    defaults += [{f"override /{group}": choice} for group, choice in groups.items()]
    defaults.append("_self_")
    for name, value in setting.point.items():
        if name.startswith(OneMinusLog.prefix):
            name, value = name.removeprefix(OneMinusLog.prefix), one_minus(value)
        _put(values, name, value)
    lines = [
        "# @package _global_",
        f"# {setting.name} of study {study}: {command}",
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
