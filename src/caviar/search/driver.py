"""Drive trials: hand what nobody has to the launcher, until all of a stage are finished.

The ledger says what is left to do, so a driver has no state that a kill could lose: a second one,
or `caviar worker` on another machine, may run beside it, and a new one goes on where it was.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caviar.base.errors import ProcessDied, SearchFailed
from caviar.config.commands import caviar_command, set_to, train_command
from caviar.config.kept import kept_config
from caviar.config.keys import FUNCTION, LIGHTNING, Keys
from caviar.config.overrides import (
    joined,
    override_value,
    point_overrides,
    rewrite_one_minus,
)
from caviar.ledger import Planned, Trial
from caviar.screen.live import PERIOD, StageView
from caviar.screen.view import console, shown_path
from caviar.search.provenance import refuse_other_config
from caviar.search.rungs import rungs_of
from caviar.search.settings import CONFIRM, TEST
from caviar.search.study import Study
from caviar.space import Space


def run_trials(
    study: Study,
    stage: str,
    plan: Sequence[Planned],
    space: Space,
    overrides: Sequence[str],
    metric: str | None = None,
) -> list[Trial]:
    """Run what of `plan` has not run yet, and return all of it.

    Trial i of the ledger's stage is plan[i], so a longer plan adds trials and repeats none. Other
    drivers and workers may take some of them: each runs once, and this waits for all.

    Arguments:
        study: whose stage it is.
        stage: its name.
        plan: its trials.
        space: that they were drawn from.
        overrides: of every trial, as this command has them. They come to the same config as those
            that the stage began with, and may name another logger, or put back what conf/ says
            otherwise now.
        metric: shown meanwhile; by default the study's.

    Raises:
        SearchFailed: every trial failed, or a trial cannot be finished.
    """
    ledger, count = study.ledger, len(plan)

    def finished() -> bool:
        return not ledger.overview(stage).first(count).unfinished

    ledger.extend(stage, plan, space)
    if not finished():
        told = False
        with StageView(ledger, stage, count, metric or study.metric, study.mode):
            while not finished():
                if run_claimable(study, stage, overrides, count):
                    continue
                if stage == TEST and not told and ledger.claimable(stage):
                    _say_where_checkpoints_are(study)
                    told = True
                time.sleep(PERIOD)  # somebody else has the rest; the ledger announces nothing
    trials = ledger.trials(stage)[:count]
    if trials and all(t.result and t.result.failed for t in trials):
        assert trials[0].result is not None
        raise SearchFailed(
            f"all {len(trials)} trials of {stage} failed, the first with\n"
            f"  {trials[0].result.error}\n{how_to_mend(study, stage)}"
        )
    return trials


def run_claimable(
    study: Study, stage: str, overrides: Sequence[str], count: int | None = None
) -> bool:
    """Run the trials among the first `count` that nobody has; False if there is none.

    Raises:
        SearchFailed: a trial came back neither finished nor taken by anybody else.
    """
    ledger = study.ledger
    before = {t.number: t for t in _runnable(study, stage, count)}
    numbers = [*before]
    if not numbers:
        return False
    # All in one call: a launcher that got them in batches would wait for the slowest of each.
    spec = ledger.spec(stage)
    jobs = [_job(study, stage, spec, trial, overrides) for trial in before.values()]
    try:
        returned = study.launch(jobs, numbers[0])
    except SearchFailed as error:
        raise SearchFailed(f"{error}\n{how_to_mend(study, stage)}") from None
    except Exception as error:
        # Of a cluster's library: a job of its was killed, or it could not begin any.
        if type(error).__module__.partition(".")[0] in ("builtins", "caviar", "hydra"):
            raise
        reason, _, _ = str(error).partition("\n")
        words = f"{type(error).__name__}: {reason}"
        # Whoever claimed a trial has written its claim. If none was written, no job has begun, and
        # to launch them again would go on for ever.
        if all(t.claim == before[t.number].claim for t in ledger.some(stage, numbers)):
            raise SearchFailed(f"the launcher could not run {stage}: {words}") from error
        console.print(f"{stage}: {words}")
        return True
    # One that waits because somebody has put it back meanwhile has its fault on record.
    waits = [n for n in ledger.claimable(stage) if n in before]
    after = ledger.some(stage, waits)
    left = {t.number for t in after if t.forgiven == before[t.number].forgiven}
    for number, job in zip(numbers, returned or (), strict=False):
        fault = getattr(job, "_return_value", None)
        # A fault that is in the ledger is the trial's result; one that could not be written down
        # would be met again and again.
        if number not in left or not isinstance(fault, Exception):
            continue
        if isinstance(fault, OSError | ProcessDied):
            what = "written down" if isinstance(fault, OSError) else "begun"
            raise SearchFailed(
                f"trial {number} of {stage} could not be {what}: {fault}; mend that, "
                "and run the command again"
            )
        raise fault
    return True


def work(study: Study) -> None:
    """`caviar worker`: run trials of a study that another machine drives, until none was waiting or
    running anywhere for `search.idle` seconds.

    It draws nothing and decides nothing. The ledger says what each trial is; this machine needs
    the same code, the same data and the same conf/.

    Raises:
        UserError: its conf/ is another.
    """
    study.point_to_ledger()
    overrides: dict[str, Sequence[str]] = {}  # by stage
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since <= study.settings.idle and not study.complete:
        busy = False
        for stage in study.stages():
            overview = study.ledger.overview(stage)
            busy |= overview.unfinished > 0
            if overview.unfinished and _runnable(study, stage):
                if stage not in overrides:
                    overrides[stage] = _checked_overrides(study, stage)
                with StageView(study.ledger, stage, overview.total, study.metric, study.mode):
                    run_claimable(study, stage, overrides[stage])
        if busy:
            quiet_since = time.monotonic()
        time.sleep(PERIOD)
    console.print(f"no trial of study {study.name} is left")


def _checked_overrides(study: Study, stage: str) -> Sequence[str]:
    """What a worker trains a stage's trials with: the stage's own overrides, and what its command
    adds for this machine."""
    begun = study.ledger.spec(stage)
    overrides = joined(study.overrides, begun["overrides"])
    if "config" in begun:
        asked = {"overrides": overrides, "config": kept_config(study.compose(overrides))}
        refuse_other_config(study, stage, begun, asked)
    return overrides


def trial_overrides(
    planned: Planned, stage_overrides: Sequence[str], keys: Keys, test: bool = False
) -> list[str]:
    """What a user would type to train this setting, in search coordinates.

    Arguments:
        planned: the setting, its seed, and a checkpoint that is only to be tested.
        stage_overrides: of every trial of its stage.
        keys: of the project's config.
        test: the test set is opened behind the training, where no checkpoint is only tested.
    """
    only_test: tuple[str, ...] = ()
    if planned.checkpoint is not None:
        path = override_value(planned.checkpoint)
        only_test = ("fit=false", "test=true", f"ckpt_path={path}")
    elif keys.kind != LIGHTNING and keys.test is not None:
        only_test = (f"{keys.test}={str(test).lower()}",)
    point = point_overrides(planned.point)
    return [*joined(stage_overrides, only_test), *point, f"{keys.seed}={planned.seed}"]


def command_of(
    study: Study,
    planned: Planned,
    stage_overrides: Sequence[str],
    test: bool = False,
    at: Path | None = None,
) -> str:
    """The command that trains a trial again, by itself and outside of its study."""
    words = trial_overrides(planned, stage_overrides, study.keys, test)
    return train_command(words, study.sources, at, runner=study.keys.kind == FUNCTION)


def print_commands(study: Study, plan: Sequence[Planned], stage_overrides: Sequence[str]) -> None:
    """A dry run: one command a trial on standard output, and nothing else there."""
    for planned in plan:
        print(command_of(study, planned, stage_overrides))


def _job(
    study: Study,
    stage: str,
    spec: Mapping[str, Any],
    trial: Trial,
    stage_overrides: Sequence[str],
) -> list[str]:
    """A trial as Hydra's overrides: its setting, and how it finds its place in the ledger."""
    place = {"trial.stage": stage, "trial.number": trial.number, "search.study": study.name}
    if study.settings.storage:
        place["search.storage"] = study.storage
        place["search.heartbeat"] = study.settings.heartbeat
    if study.settings.keep_checkpoints != "all":
        place["search.keep_checkpoints"] = study.settings.keep_checkpoints
    if (rungs := rungs_of(spec)) and (until := rungs.until(trial.rung)) is not None:
        place["trial.until"] = until
    if spec.get("pruner", "none") != "none":
        place["search.pruner"] = spec["pruner"]
    words = trial_overrides(trial.planned, stage_overrides, study.keys, test=stage == TEST)
    overrides = rewrite_one_minus(words)
    return [*overrides, *(f"{key}={override_value(value)}" for key, value in place.items())]


def _runnable(study: Study, stage: str, count: int | None = None) -> list[Trial]:
    """The trials among the first `count` that nobody has and that can run here: a test needs a
    checkpoint."""
    ledger = study.ledger
    numbers = [n for n in ledger.claimable(stage) if count is None or n < count]
    return [
        trial
        for trial in ledger.some(stage, numbers)
        if trial.planned.checkpoint is None or Path(trial.planned.checkpoint).exists()
    ]


def _say_where_checkpoints_are(study: Study) -> None:
    """Which machines have what is to be tested.

    Raises:
        SearchFailed: none has, as it was trained here and is gone.
    """
    hosts = {t.host for t in study.ledger.trials(CONFIRM)} - {socket.gethostname()}
    if not hosts:
        waiting = [t.planned.checkpoint for t in study.ledger.trials(TEST) if not t.finished]
        gone = next(path for path in waiting if path and not Path(path).exists())
        raise SearchFailed(
            f"the checkpoint {gone} is gone, and confirm was to test it; put it back, or search "
            "under another name: search.study=ANOTHER_NAME"
        )
    command = caviar_command("worker", study.name, set_to("search.storage", study.storage))
    console.print(
        f"the checkpoints to test are not all on this machine; run {command} on {', '.join(hosts)}"
    )


def how_to_mend(study: Study, stage: str) -> str:
    """What to do about trials of a stage that failed, so that nothing else is lost."""
    tracebacks = sorted((study.folder / stage).glob("*/error.txt"))
    where = f"the traceback is in {shown_path(tracebacks[0])}; " if tracebacks else ""
    if stage == TEST:
        return f"{where}mend that, and the same command tests again: its result was not seen"
    return (
        f"{where}mend the code or the data, then put them back with "
        f"{caviar_command('retry', study.name)}, and repeat the command; if the config has to be "
        "another one, write search.study=ANOTHER_NAME"
    )
