"""What was trained is what is written down: the config and the code of a stage.

A stage keeps the config that it was begun with, in the ledger and as a file for reading. All of its
trials train by it: a command whose config is another is refused, and a trial that begins after an
edit of conf/ puts the old values back. Code cannot be put back. So each trial keeps a hash of it,
and who mixes two states of it in a study is told which trials are of which.

    runs/<study>/01_coarse.config.yaml
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from caviar.base.code import changed_files, code_files, digest
from caviar.base.errors import UserError
from caviar.base.files import replaced
from caviar.base.terminal import complain
from caviar.config.commands import for_shell
from caviar.config.kept import Change, changes, kept_config, restore
from caviar.config.overrides import joined, override_key
from caviar.screen.view import shown_path
from caviar.search.settings import TEST
from caviar.space import OneMinusLog
from caviar.space.sweep_file import SweepFile

if TYPE_CHECKING:
    from caviar.ledger import Ledger, Overview
    from caviar.search.study import Study

SHOWN = 8  # changes, or files, that a message names


# -- the config


def config_file(study: Study, stage: str) -> Path:
    """Where a stage's config can be read."""
    return study.folder / f"{stage}.config.yaml"


def write_config(study: Study, stage: str, config: Mapping[str, Any]) -> None:
    """Write what a stage trains beside its sweep file, for a reader: the ledger's is the truth."""
    path = config_file(study, stage)
    text = (
        f"# What {stage} of study {study.name} trains, beside each trial's own setting: conf/ and "
        f"all overrides, as they were when it began.\n{yaml.safe_dump(config, sort_keys=False)}"
    )
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replaced(path) as partial:
            partial.write_text(text, encoding="utf-8")


def trained_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two stages trained alike, by their specs, so that their losses compare."""
    if "config" in one and "config" in other:
        axes = _axes(one) | _axes(other)
        return not changes(one["config"], other["config"], axes)
    return sorted(one["overrides"]) == sorted(other["overrides"])  # of an earlier version


def refuse_other_config(
    study: Study, stage: str, begun: Mapping[str, Any], asked: Mapping[str, Any]
) -> None:
    """Let a stage be gone on with only as it was begun.

    Arguments:
        study: whose stage it is.
        stage: its name.
        begun: its spec in the ledger.
        asked: its spec as this command has it.

    Raises:
        UserError: with each key, its old and its new value, and what to write.
    """
    axes = _axes(begun)
    if not (changed := changes(begun["config"], asked["config"], axes)):
        return
    edited = _edited(study, begun, axes)
    mends = []
    if {c.key for c in changed} - {c.key for c in edited}:
        before, now = begun["overrides"], asked["overrides"]
        mends += [f"leave out {for_shell([o])}" for o in now if o not in before]
        mends += [f"write {for_shell([o])}" for o in before if o not in now]
    if edited:
        mends.append(f"as conf/ says otherwise now, write {_restoring(edited)}")
    raise UserError(
        f"stage {stage} of study {study.name} was begun with another config:\n"
        f"{_lines(changed, config_file(study, stage))}\nto go on with the old, "
        f"{', '.join(mends)}; or write search.study=ANOTHER_NAME to begin anew"
    )


def refuse_edited_conf(study: Study, overrides: Sequence[str], searching: bool) -> None:
    """Before a study's next stage begins: what conf/ says must be what it said for the last one,
    but for what the stage's own overrides decide.

    Arguments:
        study: whose stage it is.
        overrides: of the stage: of the study, of its file, and of the command line.
        searching: it draws the axes of the space, so that their default values do not matter.

    Raises:
        UserError: with each key, its old and its new value, and what to write.
    """
    begun = study.search_stages()
    spec = study.ledger.spec(begun[-1]) if begun else {}
    if "config" not in spec:  # of an earlier version
        return
    axes = _axes(spec) if searching else frozenset()
    edited = {c.key: c for c in _edited(study, spec, axes)}
    if not edited:
        return
    # An override decides what its key is to be from here on, the old value or the new.
    asked = changes(spec["config"], kept_config(study.compose(overrides)), axes)
    values = {c.key: c.now for c in asked}
    named = {override_key(o) for o in overrides}
    left = [c for k, c in edited.items() if k not in named and repr(values.get(k)) == repr(c.now)]
    if left:
        raise UserError(
            f"conf/ says otherwise now than when {begun[-1]} of study {study.name} began:\n"
            f"{_lines(left, config_file(study, begun[-1]))}\nto go on with the old, write "
            f"{_restoring(left)}; to change it from here on, write the new value there; or begin "
            "anew with search.study=ANOTHER_NAME"
        )


def restore_config(
    config: DictConfig, spec: Mapping[str, Any], point: Mapping[str, Any], output: Path
) -> None:
    """Let a trial train by the config that its stage was begun with.

    Hydra reads conf/ when a trial begins, which may be hours after its stage did.

    Arguments:
        config: of the trial; changed in place.
        spec: of its stage.
        point: the trial's search coordinates, which are its own.
        output: its folder, where Hydra has written the config already.
    """
    if "config" not in spec:
        return
    own = {name.removeprefix(OneMinusLog.prefix) for name in point}
    changed = changes(spec["config"], kept_config(config), own)
    if not changed:
        return
    restore(config, changed)
    print(f"conf/ was edited since the stage began; as then: {_restoring(changed)}", flush=True)
    hydra = HydraConfig.get().output_subdir if HydraConfig.initialized() else None
    if hydra is not None and (written := output / hydra / "config.yaml").exists():
        OmegaConf.save(config, written)


def as_begun(study: Study, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """A stage's overrides, and what puts back what conf/ says otherwise since: a command with them
    trains as its trials did."""
    try:
        edited = _edited(study, spec, ()) if "config" in spec else []
    except (UserError, HydraException):  # conf/ can no more be composed with them
        edited = []
    return joined(spec["overrides"], (change.restoring for change in edited))


def _edited(study: Study, spec: Mapping[str, Any], but: Collection[str]) -> list[Change]:
    """What conf/ says otherwise than when a stage began, for the stage's own overrides."""
    return changes(spec["config"], kept_config(study.compose(spec["overrides"])), but)


def _axes(spec: Mapping[str, Any]) -> frozenset[str]:
    """Keys that the trials of a stage draw: their default value shapes none of them."""
    if "sweep" not in spec:
        return frozenset()
    return frozenset(axis.key for axis in SweepFile.parse(spec["sweep"], Path("stage")).space)


def _restoring(changed: Sequence[Change]) -> str:
    return for_shell(change.restoring for change in changed)


def _lines(changed: Sequence[Change], file: Path) -> str:
    lines = [f"  {change}" for change in changed[:SHOWN]]
    if more := len(changed) - SHOWN:
        lines += [f"  and {more} more; all of the old is in {shown_path(file)}"] if more > 0 else []
    return "\n".join(lines)


# -- the code


def keep_code(ledger: Ledger, stage: str) -> str:
    """Write down the project's code as it is now; the hash that a trial's claim names it by."""
    files = code_files()
    name = digest(files)
    ledger.keep_code(stage, name, files)
    return name


def warn_of_other_code(study: Study) -> None:
    """Say which trials were trained with other code than this command's, and what was changed."""
    for line in _of_other_code(study, code_files(), "those from now on"):
        complain(f"warning: {line}")


def mixed_code(study: Study) -> list[str]:
    """Which trials of a study were trained with other code than its latest; a sentence a state."""
    _, stage, name = max(
        (
            (np.nan_to_num(overview.started[numbers]).max(), stage, name)
            for stage, overview in _trained(study).items()
            for name, numbers in _by_code(overview).items()
        ),
        default=(0.0, "", ""),
    )
    if not name:
        return []
    lines = _of_other_code(study, study.ledger.code(stage).get(name, {}), "the latest")
    return [f"{line[0].upper()}{line[1:]}." for line in lines]


def _trained(study: Study) -> dict[str, Overview]:
    """The stages that train; what tests is of no code of its own."""
    return {stage: study.ledger.overview(stage) for stage in study.stages() if stage != TEST}


def _by_code(overview: Overview) -> dict[str, list[int]]:
    """Hash of the code → the finished trainings that say they are of it."""
    finished = np.array(overview.finished, int)
    codes = overview.version_of[finished]
    _, firsts = np.unique(codes, return_index=True)
    return {
        overview.versions[code]: finished[codes == code].tolist()
        for code in codes[np.sort(firsts)].tolist()  # in the order of their first trials
        if code >= 0
    }


def _of_other_code(study: Study, now: Mapping[str, str], others: str) -> list[str]:
    """`trials 0-4 of 01_coarse were trained with other code than …: src/mine/model.py changed`."""
    lines = []
    for stage, overview in _trained(study).items():
        states = _by_code(overview)
        states.pop(digest(now), None)
        for name, numbers in states.items():
            files = changed_files(study.ledger.code(stage).get(name, {}), now)
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            which, were = ("trial", "was") if len(numbers) == 1 else ("trials", "were")
            lines.append(
                f"{which} {ranges(numbers)} of {stage} {were} trained with other code than "
                f"{others}: {', '.join(files[:3])}{more} changed"
            )
    return lines


def ranges(numbers: Sequence[int]) -> str:
    """`0-4, 7`."""
    runs = [
        [n for _, n in run]
        for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
