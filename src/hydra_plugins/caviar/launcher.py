"""`hydra/launcher=pool`: the jobs of a sweep side by side on this machine. The work is in
caviar.pool."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from caviar.pool.settings import PoolSettings

ConfigStore.instance().store(
    name="pool", node=PoolSettings, group="hydra/launcher", provider="caviar"
)


class PoolLauncher(Launcher):
    """Hands jobs to `caviar.pool.Pool`, and what died to the ledger."""

    def __init__(self, **settings: Any) -> None:
        self.settings = PoolSettings(**settings)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from caviar.pool.machine import slots_for
        from caviar.pool.pool import Pool
        from caviar.pool.process import Fault
        from caviar.pool.worker import Launched
        from caviar.search.trial import record_fault

        launched = Launched(
            hydra_context=self.hydra_context,
            config=self.config,
            task_function=self.task_function,
            singletons=Singleton.get_state(),
            environment=dict(os.environ),
        )

        def died(overrides: Sequence[str], fault: Fault) -> str | None:
            return record_fault(launched.compose(overrides), fault, self.settings.retries)

        with ExitStack() as stack:
            slots = slots_for(self.config, self.settings.num_workers, self.settings.gpus_per_trial)
            for slot in slots:
                stack.callback(slot.close)
            pool = Pool(
                slots[: len(job_overrides)],
                launched,
                self.settings.preload,
                self.settings.timeout,
                self.settings.retries,
                self.settings.max_failures,
                died,
            )
            return pool.run(job_overrides, initial_job_idx)
