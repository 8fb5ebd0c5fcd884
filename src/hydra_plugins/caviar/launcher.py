"""`hydra/launcher=pool`: the jobs of a sweep side by side on this machine; `stacked`, those whose
models are of one build as one; and `auto`, which takes for each what is faster.

    python train.py -m hydra.launcher.num_workers=8
    python train.py -m hydra/launcher=stacked

The work is in caviar.pool, which is imported when a sweep begins: Hydra reads this file at every
start, `--help` and tab completion among them.
"""

# No `from __future__ import annotations`: Hydra runs this file without an entry in sys.modules,
# where a dataclass looks for the names in annotations that are text.
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from caviar.base.errors import check_rules


@dataclass
class PoolSettings:
    """What a user can say of the pool, such as `hydra.launcher.num_workers=8`.

    Raises:
        UserError: a setting that cannot be.
    """

    _target_: str = "hydra_plugins.caviar.launcher.PoolLauncher"
    num_workers: int | None = None
    """Trials at a time; null: one per GPU, else one per core."""
    gpus_per_trial: float | None = None
    """null: as many as `trainer.devices`; a fraction shares a GPU; 0 trains on the CPU."""
    timeout: float | None = None
    """Seconds for a trial; one that hangs is ended then, and recorded as a timeout."""
    retries: int = 1
    """How often a trial that was killed, or ran out of memory, is tried again."""
    max_failures: int = 3
    """Stop when the first so many trials all fail with the same error; 0 never stops."""
    preload: list[str] = field(
        default_factory=lambda: [
            "caviar.training.run",
            "caviar.search.trial",
            "caviar.wandb.ledger",  # passed over where the room was deleted
            "caviar.wandb.child",
            "sklearn.datasets",
        ]
    )
    """Modules that every trial imports; your own, if importing it takes long."""

    def __post_init__(self) -> None:
        def least(value: float | None, bound: float) -> bool:
            return value is None or value >= bound

        gpus = self.gpus_per_trial
        dealt = gpus is None or gpus < 1 or float(gpus).is_integer()
        parts = "a whole number, or a fraction below 1 such as 0.5, or null"
        rules = (
            ("num_workers", self.num_workers, least(self.num_workers, 1), "1 or more, or null"),
            ("gpus_per_trial", gpus, least(gpus, 0), "0 or more"),
            ("gpus_per_trial", gpus, dealt, parts),
            ("timeout", self.timeout, least(self.timeout, 1), "seconds, 1 or more, or null"),
            ("retries", self.retries, least(self.retries, 0), "0 or more"),
            ("max_failures", self.max_failures, least(self.max_failures, 0), "0 or more"),
        )
        check_rules("hydra.launcher.", rules)


ConfigStore.instance().store(
    name="pool", node=PoolSettings, group="hydra/launcher", provider="caviar"
)


class PoolLauncher(Launcher):
    """Hands jobs to `caviar.pool.Pool`, and what died to the ledger."""

    _example: Any = None  # the config of the first job, which is asked for several times

    def __init__(self, **settings: Any) -> None:
        self.settings = PoolSettings(**settings)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from caviar.pool.process import Fault
        from caviar.pool.worker import Launched
        from caviar.search.trial import record_fault

        launched = self._launched(Launched)
        self._compose_once(launched, job_overrides)

        def died(overrides: Sequence[str], fault: Fault) -> str | None:
            return record_fault(launched.compose(overrides), fault, self.settings.retries)

        return self._run(launched, job_overrides, initial_job_idx, died)

    def _launched(self, kind: Any, **more: Any) -> Any:
        from caviar.base.environment import one_command
        from caviar.pool.alone import Script

        with one_command():
            environment = dict(os.environ)
        return kind(
            hydra_context=self.hydra_context,
            config=self.config,
            task_function=self.task_function,
            singletons=Singleton.get_state(),
            environment=environment,
            script=Script.of_driver(),
            **more,
        )

    def _compose_once(self, launched: Any, jobs: Sequence[Sequence[str]]) -> None:
        """Let the jobs' processes make their configs from the first one's, if there are several."""
        from caviar.config.alike import Example
        from caviar.pool.alone import imported_by_main
        from caviar.pool.process import start_server

        # Which takes seconds to import what it is to.
        start_server([*self.settings.preload, *imported_by_main()])
        if len(jobs) < 2:
            return
        if self._example is None or self._example.overrides != [*jobs[0]]:
            with suppress(Exception):  # a slip, which each job will say itself
                self._example = Example(launched.compose(jobs[0]), jobs[0])
        launched.example = self._example

    def _run(
        self, launched: Any, jobs: Sequence[Any], first: int, died: Any, size: int = 1
    ) -> list[Any]:
        """Run jobs in the pool; one may be that of `size` trials."""
        from caviar.pool.machine import slots_for
        from caviar.pool.pool import Pool

        settings = self.settings
        timeout = None if settings.timeout is None else size * settings.timeout
        with ExitStack() as stack:
            slots = slots_for(self.config, settings.num_workers, settings.gpus_per_trial)
            for slot in slots:
                stack.callback(slot.close)
            pool = Pool(
                slots[: len(jobs)],
                launched,
                settings.preload,
                timeout,
                settings.retries,
                settings.max_failures,
                died,
            )
            return pool.run(jobs, first)


@dataclass
class StackedSettings(PoolSettings):
    """What a user can say of stacks, such as `hydra.launcher.max_stack=256`."""

    _target_: str = "hydra_plugins.caviar.launcher.StackedLauncher"
    max_stack: int = 64
    """Models that are trained as one, at most."""
    least: int = 2
    """Models that are trained as one, at least; fewer of a shape are trained one by one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rules = (
            ("max_stack", self.max_stack, self.max_stack >= 2, "2 or more"),
            ("least", self.least, self.least >= 2, "2 or more"),
        )
        check_rules("hydra.launcher.", rules)


ConfigStore.instance().store(
    name="stacked", node=StackedSettings, group="hydra/launcher", provider="caviar"
)


@dataclass
class AutoSettings(StackedSettings):
    """As of stacks."""

    _target_: str = "hydra_plugins.caviar.launcher.AutoLauncher"
    least: int = 4
    """Models that are trained as one, at least; fewer are no slower one by one."""


ConfigStore.instance().store(
    name="auto", node=AutoSettings, group="hydra/launcher", provider="caviar"
)


class StackedLauncher(PoolLauncher):
    """Trains jobs whose models are of one build as one, and beside them the others one by one."""

    Settings: Any = StackedSettings
    MOST_SHAPES = 2000

    def __init__(self, **settings: Any) -> None:
        self.settings: StackedSettings = self.Settings(**settings)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from caviar.pool.machine import slots_for
        from caviar.pool.process import Fault
        from caviar.search.stacking import Alone, Stacks, begun_in, record_faults
        from caviar.stacked.plan import dealt

        launched = self._launched(Stacks, max_stack=self.settings.max_stack)
        self._compose_once(launched, job_overrides)
        config = launched.compose(job_overrides[0])
        slots = slots_for(self.config, self.settings.num_workers, self.settings.gpus_per_trial)
        for slot in slots:
            slot.close()
        why = self._why_not(config, slots)
        if why is not None:
            self._say(f"trained one by one: {why}")
            return super().launch(job_overrides, initial_job_idx)

        def died(jobs: Sequence[Sequence[str]], fault: Fault) -> str | None:
            return record_faults(launched.compose, jobs, fault, self.settings.retries)

        def run(parts: Sequence[Sequence[int]]) -> dict[int, JobReturn]:
            jobs = [[job_overrides[n] for n in part] for part in parts]
            size = max(map(len, parts))
            answers = self._run(launched, jobs, initial_job_idx, died, size)
            found = {}
            for part, answer in zip(parts, answers, strict=True):
                values = answer._return_value
                if len(part) == 1:
                    found[part[0]] = answer
                    continue
                for place, number in enumerate(part):
                    value = values[place] if isinstance(values, list) else values
                    failed = isinstance(value, Exception)
                    status = JobStatus.FAILED if failed else JobStatus.COMPLETED
                    found[number] = JobReturn(
                        overrides=job_overrides[number], status=status, _return_value=value
                    )
            return found

        begun = begun_in(config, job_overrides)
        forms, settings = self._forms(job_overrides), self.settings
        parts = dealt(forms, len(slots), settings.least, begun, settings.max_stack)
        stacks = [len(part) for part in parts if len(part) > 1]
        if stacks:
            rest = len(job_overrides) - sum(stacks)
            more = f", {rest} one by one" if rest else ""
            number = "a stack" if len(stacks) == 1 else f"{len(stacks)} stacks"
            self._say(f"{sum(stacks)} trials in {number}{more}")
        returned = run(parts)
        alone = {
            n: job._return_value.why
            for n, job in returned.items()
            if isinstance(job._return_value, Alone)
        }
        if alone:
            reasons = "; ".join(dict.fromkeys(alone[n] for n in sorted(alone)))
            which = f"{len(alone)} of {len(job_overrides)} trials"
            self._say(f"{which} are trained one by one after all: {reasons}")
            returned |= run([[n] for n in sorted(alone)])
        return [returned[n] for n in range(len(job_overrides))]

    def _say(self, line: str) -> None:
        from caviar.screen.view import console

        console.print(line, style="dim")

    def _why_not(self, config: DictConfig, slots: Sequence[Any]) -> str | None:
        """Why nothing is stacked, as the end of a sentence; None if it may be."""
        from caviar.stacked.plan import why_not

        return why_not(config) if config.trial.number is not None else "they are no trials"

    def _forms(self, jobs: Sequence[Sequence[str]]) -> list[Any]:
        """The form of each job's model, built in a process of its own: this one has no torch."""
        from caviar.search.stacking import Shapes
        from caviar.stacked.plan import by_overrides

        # Ten milliseconds a model: not of a hundred thousand.
        groups = by_overrides(jobs)[: self.MOST_SHAPES]
        asked = [jobs[group[0]] for group in groups]
        launched = self._launched(Shapes)
        self._compose_once(launched, asked)
        (answer,) = self._run(launched, [asked], 0, lambda *_: "died", len(asked))
        forms: list[Any] = [None] * len(jobs)
        if isinstance(answer._return_value, list):
            for group, form in zip(groups, answer._return_value, strict=True):
                for number in group:
                    forms[number] = form
        return forms


class AutoLauncher(StackedLauncher):
    """Stacks what is faster in a stack, as far as was measured, and trains the rest one by one."""

    Settings: Any = AutoSettings
    # Multiplications of a forward pass of a batch, beyond which a step is arithmetic and little
    # else, and a stack gains nothing on a CPU. 128 units in 4 layers and batches of 128 are 7.5e6.
    MOST_WORK = 16e6

    def _why_not(self, config: DictConfig, slots: Sequence[Any]) -> str | None:
        if any(slot.gpus for slot in slots):  # where nobody has measured what is faster
            return "for stacks on a GPU, write hydra/launcher=stacked"
        return super()._why_not(config, slots)

    def _say(self, line: str) -> None:
        # Nobody has asked for stacks: why there are none is of no interest.
        if not line.startswith("trained one by one"):
            super()._say(line)

    def _forms(self, jobs: Sequence[Sequence[str]]) -> list[Any]:
        if len(jobs) < self.settings.least:  # too few to look at, but for what a kill has left
            return [None] * len(jobs)
        forms = super()._forms(jobs)
        return [f if f is not None and f.work and f.work <= self.MOST_WORK else None for f in forms]
