"""Trials of a stage that train as one: claimed together, reported together, each with its result.

What a stack leaves in the ledger and in the trials' folders is what they would leave alone. A trial
that no stack can take is given back, with the reason, for the pool to train.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from caviar.base.environment import SLOT
from caviar.base.result import Length
from caviar.base.signals import tidy_sigterm, uninterrupted
from caviar.ledger import Ledger
from caviar.pool.process import Fault
from caviar.pool.worker import Launched, redirect
from caviar.search.keeping import tidy_checkpoints
from caviar.search.provenance import keep_code, restore_config
from caviar.search.settings import CONFIRM, TEST, open_ledger, study_folder
from caviar.search.trial import GIVE_UP, LAST, make_pruner, record_fault
from caviar.stacked.plan import Configs, Form, stored

FOLDER = "stack"  # in a stage's folder: what the processes that train stacks print


@dataclass
class Stacks(Launched):
    """As `Launched`, of processes that train many jobs each, or one."""

    max_stack: int = 64

    def prepare(self, overrides: Any, index: int) -> Callable[[Mapping[str, str]], Any]:
        """Compose the configs of some jobs.

        Arguments:
            overrides: of each job.
            index: of the first.
        """
        if len(overrides) == 1:
            return super().prepare(overrides[0], index)
        self.enter(overrides[0])
        return partial(_run, self, Configs(self.compose, overrides))


@dataclass
class Shapes(Launched):
    """As `Launched`, of a process that builds the models of many jobs, and trains none."""

    def prepare(self, overrides: Any, index: int) -> Callable[[Mapping[str, str]], Any]:
        """As `Stacks.prepare`."""
        self.enter(overrides[0])
        return partial(_shapes, Configs(self.compose, overrides))


def _shapes(configs: Configs, environment: Mapping[str, str]) -> JobReturn:
    """The form of each job's model and data; None for one that cannot be built."""
    from hydra.core.hydra_config import HydraConfig

    from caviar.stacked.members import built, work_of

    os.environ.update(environment)
    HydraConfig.instance().set_config(configs.config)
    folder = study_folder(configs.config) / configs.config.trial.stage / FOLDER
    redirect(folder)
    found: list[Form | None] = []
    for job in range(len(configs.jobs)):
        config = configs.of(job)
        try:
            with _output(config, folder):
                member = built(config, folder)
            build = sha256(repr(member.build()).encode()).hexdigest()[:16]
            found.append(Form(build, member.size, work_of(member)))
        except Exception:  # the trial itself will say what it is
            found.append(None)
    return JobReturn(overrides=[], status=JobStatus.COMPLETED, _return_value=found)


def begun_in(config: DictConfig, jobs: Sequence[Sequence[str]]) -> list[list[int]]:
    """Jobs that are in one stack already, which a kill has left.

    Arguments:
        config: of one of the jobs.
        jobs: overrides of each.
    """
    words = [[w for w in job if w.lstrip("+").startswith("trial.number=")] for job in jobs]
    if not all(words):
        return []
    numbers = [int(word[-1].partition("=")[2]) for word in words]
    return [*stored(study_folder(config) / config.trial.stage / FOLDER, numbers).values()]


@contextmanager
def _output(config: DictConfig, folder: Path) -> Iterator[None]:
    """Let a trial's config name its folder, which Hydra would do; for a while, since it is the
    config of all trials."""
    before = config.paths._get_node("output")._value()
    config.paths.output = str(folder)
    try:
        yield
    finally:
        config.paths.output = before


@dataclass(frozen=True)
class Alone:
    """A trial that is to be trained by itself, and why, as the end of a sentence."""

    why: str


@dataclass
class Stage:
    """The trials that one process trains, of one stage."""

    configs: Configs
    ledger: Ledger
    name: str
    numbers: list[int]
    """Of the trials, by job."""
    metric_mode: str
    pruner: str
    found: dict[int, Any] = field(default_factory=dict)
    """By job: the best value, or `Alone`."""
    begun: dict[int, Any] = field(default_factory=dict)
    """By job: what it goes on from behind a rung."""

    def folder(self, job: int) -> Path:
        """Of a trial."""
        return study_folder(self.configs.config) / self.name / str(self.numbers[job])

    def member(self, job: int) -> Any:
        """Build a trial's model and data, and leave its config in its folder."""
        from caviar.stacked.members import built

        config, folder = self.configs.of(job), self.folder(job)
        hydra = folder / ".hydra"
        if job in self.begun or not (hydra / "config.yaml").exists():
            hydra.mkdir(parents=True, exist_ok=True)
            text = self.configs.text(job)
            (hydra / "config.yaml").write_text(text, encoding="utf-8")
            words = "".join(f"- {word}\n" for word in self.configs.jobs[job])
            (hydra / "overrides.yaml").write_text(words, encoding="utf-8")
        with _output(config, folder):
            member = built(config, folder)
        member.number, member.begun = self.numbers[job], self.begun.get(job)
        return member

    def report(self, points: Sequence[tuple[Any, int, float, Length]]) -> list[Any]:
        """Write down the points of a validation; who is to be given up."""
        named = [(m.number, point, value) for m, point, value, _ in points]
        self.ledger.report_all(self.name, named)
        if (until := self.configs.config.trial.get("until")) is not None:
            return [m for m, point, _, length in points if until <= point + 1 != length.points]
        if self.pruner == "none" or self.name in (CONFIRM, TEST):
            return []
        hopeless = []
        for member, point, value, length in points:
            last = length.points is not None and point + 1 >= length.points
            pruner = make_pruner(self.pruner, length.points)
            if last or value != value or pruner is None:
                continue
            if self.ledger.should_prune(self.name, member.number, pruner):
                hopeless.append(member)
        return hopeless

    def ended(self, members: Sequence[Any]) -> None:
        """Write the results of trials, into their folders and the ledger."""
        for member in members:
            member.result.write(member.output)
        with uninterrupted():
            self.ledger.finish_all(self.name, [(m.number, m.result) for m in members])
            for member in members:
                self.found[self.numbers.index(member.number)] = member.result.best

    def give_back(self, jobs: Sequence[int]) -> None:
        """Let trials that this process has claimed wait again."""
        for job in jobs:
            self.ledger.release(self.name, self.numbers[job])


def _run(stacks: Stacks, configs: Configs, environment: Mapping[str, str]) -> JobReturn:
    """Train the trials of a process; a value or an `Alone` for each of its jobs."""
    from hydra.core.hydra_config import HydraConfig

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    config = configs.config
    HydraConfig.instance().set_config(config)
    stage = Stage(
        configs,
        open_ledger(config),
        config.trial.stage,
        [int(configs.of(job).trial.number) for job in range(len(configs.jobs))],
        config.metric.mode,
        config.search.pruner,
    )
    redirect(study_folder(config) / stage.name / FOLDER)
    with tidy_sigterm():
        train_stage(stage, stacks.max_stack)
    found = [stage.found.get(job) for job in range(len(configs.jobs))]
    return JobReturn(overrides=[], status=JobStatus.COMPLETED, _return_value=found)


def train_stage(stage: Stage, max_stack: int) -> None:
    """Claim the trials, train them in stacks, and give back what no stack can take."""
    from caviar.stacked.begun import begun
    from caviar.stacked.run import train_all

    ledger, config = stage.ledger, stage.configs.of(0)
    before = ledger.trials(stage.name)
    restore_config(config, ledger.spec(stage.name), before[stage.numbers[0]].point, stage.folder(0))
    resumed = [
        job
        for job, number in enumerate(stage.numbers)
        if (before[number].claim and (stage.folder(job) / LAST).exists())
        or len(before[number].faults[before[number].forgiven :]) > GIVE_UP
    ]
    for job in resumed:
        trial = before[stage.numbers[job]]
        checkpoint = None
        if trial.rung:  # and not one that a kill has interrupted, which may be in an epoch
            last = stage.folder(job) / LAST
            checkpoint = begun(stage.folder(job), last, config.trust_checkpoints)
        if checkpoint is None:
            stage.found[job] = Alone("they were begun by themselves")
        else:
            stage.begun[job] = checkpoint
    resumed = [job for job in resumed if job not in stage.begun]
    wanted = [n for job, n in enumerate(stage.numbers) if job not in resumed]
    epochs, slot = config.trainer.get("max_epochs"), os.environ.get(SLOT)
    code = keep_code(ledger, stage.name)
    with uninterrupted():
        numbers = set(ledger.claim_all(stage.name, wanted, slot=slot, epochs=epochs, code=code))
    ours = [job for job, number in enumerate(stage.numbers) if number in numbers]
    try:
        left = train_all(
            [stage.numbers[job] for job in ours],
            lambda place: stage.member(ours[place]),
            _frozen(config, stage.folder(ours[0])) if ours else config,
            stage.ended,
            stage.report,
            max_stack,
            study_folder(config) / stage.name / FOLDER,
        )
        for one in left:
            stage.found[ours[one.place]] = Alone(one.why)
    finally:
        with suppress(OSError):
            stage.give_back(
                [job for job in ours if isinstance(stage.found.get(job, Alone("")), Alone)]
            )
    keep = config.search.keep_checkpoints
    if stage.name not in (CONFIRM, TEST) and config.trial.get("until") is None:
        tidy_checkpoints(study_folder(config), ledger, keep, stage.metric_mode)


def _frozen(config: DictConfig, output: Path) -> DictConfig:
    """A copy whose folder is that of one trial; the next one changes what `Configs` gives."""
    import copy

    frozen = copy.deepcopy(config)
    frozen.paths.output = str(output)
    return frozen


def record_faults(
    compose: Callable[[Sequence[str]], DictConfig],
    jobs: Sequence[Sequence[str]],
    fault: Fault,
    retries: int,
) -> str | None:
    """Write down what became of trials whose process died.

    Returns:
        None if some of them wait for another try; else the error.
    """
    said = [record_fault(compose(job), fault, retries) for job in jobs]
    errors = [error for error in said if error]
    if any(error is None for error in said):
        return None
    return errors[0] if errors else ""
