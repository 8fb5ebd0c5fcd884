"""Put trials that failed back among the waiting ones: `caviar retry`.

    caviar retry search.study=mine                       # all that failed
    caviar retry search.study=mine 01_coarse/3 --dry-run
    caviar retry search.study=mine --status timeout

A failed trial says nothing of its setting, so it may be tried again once its cause is mended. It
keeps its number, its setting and its seed, and its faults stay on record. What came after it does
not change: a later stage that has its file keeps it, and only the next refine counts the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from caviar.base.errors import UserError
from caviar.base.result import EXCEPTION, FAULTS
from caviar.config.commands import caviar_command, set_to, stage_command
from caviar.ledger import Trial
from caviar.screen.view import console, counts, plural
from caviar.search.settings import CONFIRM, TEST
from caviar.search.stages import shared_overrides
from caviar.search.study import Study


def failed_trials(study: Study, named: Sequence[str], statuses: Sequence[str]) -> list[Trial]:
    """The trials that are asked for; where none is named, all that failed and can be put back.

    Arguments:
        study: whose trials they are.
        named: `STAGE/NUMBER` each.
        statuses: faults; of the trials that are not named, only those which ended by one of them.

    Raises:
        UserError: one that is named did not fail, or cannot be put back any more.
    """
    for status in statuses:
        if status not in FAULTS:
            raise UserError(f"--status {status!r} should be one of {', '.join(FAULTS)}")
    if named and statuses:
        raise UserError("trials are named, and --status as well; write one of the two")
    if named:
        return [_named(study, name) for name in dict.fromkeys(named)]
    found: list[Trial] = []
    for stage in study.stages():
        failed = [t for t in study.ledger.trials(stage) if t.status in (statuses or FAULTS)]
        if failed and (reason := _refusal(study, stage)):
            console.print(f"{stage}: {plural(len(failed), 'failed trial')} not put back: {reason}")
        else:
            found += failed
    return found


def put_back(study: Study, trials: Sequence[Trial], resume: bool = False) -> list[Trial]:
    """Let failed trials wait again; those of them that nobody else has put back meanwhile.

    Arguments:
        study: whose trials they are.
        trials: as `failed_trials` found them.
        resume: whether those that raised go on from their last checkpoint as well.

    Raises:
        UserError: the tests of what was confirmed have begun to tell.
    """
    # What is tested follows from what was confirmed, so it is decided once more.
    if any(t.stage == CONFIRM for t in trials) and not study.ledger.withdraw(TEST):
        raise UserError(f"{CONFIRM} of study {study.name} is being tested; wait for its end")
    return [t for t in trials if study.ledger.retry(t.stage, t.number, resume or goes_on(t))]


def goes_on(trial: Trial) -> bool:
    """Whether a failed trial goes on from its last checkpoint by itself.

    One that ran out of time or memory, or was killed, was trained well so far. One that raised was
    trained by code that has to be changed, and its weights by the changed code would be others.
    """
    return trial.status != EXCEPTION


def going_on(study: Study, trials: Sequence[Trial]) -> list[str]:
    """A command for each stage of the trials, which runs them and nothing else."""
    commands = []
    for stage in dict.fromkeys(t.stage for t in trials):
        if stage == CONFIRM:
            commands.append(_confirm_command(study))
            continue
        path = study.sweep_path(stage)
        if not path.exists():
            study.begun_sweep(stage).write(path)
        commands.append(stage_command(study.name, path))
    return commands


def later_stages(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Stages that were refined without these trials, and stay as they are."""
    names = list(dict.fromkeys([*study.search_stages(), *study.settings.stage_names()]))
    places = [names.index(t.stage) for t in trials if t.stage in names]
    later = names[min(places) + 1 :] if places else []
    return [n for n in later if n in study.stages() or study.sweep_path(n).exists()]


def _named(study: Study, name: str) -> Trial:
    """The failed trial that `STAGE/NUMBER` names."""
    stage, _, number = name.rpartition("/")
    stages = study.stages()
    if not number.isdecimal() or not stage:
        raise UserError(f"{name} names no trial; write STAGE/NUMBER, such as {stages[0]}/3")
    if stage not in stages:
        raise UserError(f"{name}: study {study.name} has no stage {stage}, but {', '.join(stages)}")
    trials = study.ledger.trials(stage)
    if int(number) >= len(trials):
        raise UserError(f"{name}: {stage} has the trials 0 to {len(trials) - 1}")
    trial = trials[int(number)]
    if not trial.failed:
        raise UserError(
            f"{name} is {trial.status}; only a trial that failed is put back, and of {stage} "
            f"there are {counts(trials)}"
        )
    if reason := _refusal(study, stage):
        raise UserError(f"{name} stays as it is: {reason}")
    return trial


def _refusal(study: Study, stage: str) -> str:
    """Why a failed trial of the stage cannot be put back; empty if it can."""
    if stage == TEST:
        return f"{_confirm_command(study)} tests again what failed, without caviar retry"
    if closed := study.closed:
        return f"the study {closed}; search on under another name: search.study=ANOTHER_NAME"
    if stage != CONFIRM and CONFIRM in study.stages():
        return (
            "the settings to confirm are chosen, and it would change them no more; search on "
            "under another name: search.study=ANOTHER_NAME"
        )
    return study.ledger.no_retry(stage)


def _confirm_command(study: Study) -> str:
    """What goes on with the confirmation as it was begun."""
    spec = study.ledger.spec(CONFIRM)
    asked, shared = asdict(study.settings.confirm), shared_overrides(study)
    begun = spec.get("confirm", {})
    words = [o for o in spec["overrides"] if o not in shared]
    words += [set_to(f"search.confirm.{k}", v) for k, v in begun.items() if asked.get(k, v) != v]
    return caviar_command("confirm", study.name, *words)
