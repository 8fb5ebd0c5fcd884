"""`hydra/sweeper=caviar`: what `python train.py -m` does. Everything else is in caviar.search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# It has no settings of its own; those of a search are the config's `search` node.
ConfigStore.instance().store(
    name="caviar",
    node={"_target_": "hydra_plugins.caviar.sweeper.CaviarSweeper"},
    group="hydra/sweeper",
    provider="caviar",
)


class CaviarSweeper(Sweeper):
    """Draws the trials of a stage and hands them to the launcher in one call."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.task_function = task_function

    def sweep(self, arguments: list[str]) -> Any:
        from caviar import rooms
        from caviar.search.run import run

        rooms.attach_ledgers()

        assert self.config is not None
        assert self.hydra_context is not None
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=self.config,
        )

        def launch(jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
            return launcher.launch(jobs, initial_job_idx=first)

        loader = self.hydra_context.config_loader
        return run(self.config, arguments, launch, loader, confirmed=rooms.write_report_of)
