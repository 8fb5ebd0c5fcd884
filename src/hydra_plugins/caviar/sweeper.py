"""`hydra/sweeper=caviar`: what `python train.py -m` does, and `hydra/sweeper=grid`, a plain grid.

Everything else is in caviar.search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# The settings of a search are the config's `search` node. A grid takes its values from the command
# line and, as Hydra's own does, from `hydra.sweeper.params`.
_SETTINGS: dict[str, dict[str, Any]] = {
    "caviar": {"_target_": "hydra_plugins.caviar.sweeper.CaviarSweeper"},
    "grid": {"_target_": "hydra_plugins.caviar.sweeper.GridSweeper", "params": {}},
}
for _name, _node in _SETTINGS.items():
    ConfigStore.instance().store(name=_name, node=_node, group="hydra/sweeper", provider="caviar")


@contextmanager
def ending_as_ours(task_function: TaskFunction) -> Iterator[None]:
    """End a command of another application's as ours end: one message, and a signal ends it tidily.

    `caviar.app` does so around all of Hydra.
    """
    if getattr(task_function, "__module__", None) == "caviar.app":
        yield
        return
    from caviar.base.signals import tidy_sigterm
    from caviar.config.messages import clear_errors

    with clear_errors(), tidy_sigterm():
        yield


def refuse_other_folder(config: DictConfig) -> None:
    """Refuse a config in which something else decides where trials lie.

    Raises:
        UserError: with what to write.
    """
    from caviar.base.errors import UserError
    from caviar.search.settings import study_folder

    folder = study_folder(config)
    if Path(config.hydra.sweep.dir).absolute() != folder.absolute():
        raise UserError(
            f"hydra.sweep.dir is {config.hydra.sweep.dir}, and trials lie in {folder}: put "
            "`- caviar: default` behind `- hydra: …` in the defaults of the root config, or leave "
            "hydra.sweep.dir out"
        )


class CaviarSweeper(Sweeper):
    """Draws the trials of a stage and hands them to the launcher in one call."""

    looks_on = False
    """Whether a job that is no trial leaves a result as well."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        from caviar.task.task import as_trials

        with ending_as_ours(task_function):
            refuse_other_folder(config)
        self.task_function = as_trials(task_function, self.looks_on)

    def sweep(self, arguments: list[str]) -> Any:
        from caviar import rooms
        from caviar.search.run import run

        rooms.attach_ledgers()
        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        with ending_as_ours(self.task_function):
            return run(
                self.config, arguments, self.launch(), loader, confirmed=rooms.write_report_of
            )

    def launch(self) -> Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]:
        """What hands jobs to Hydra's launcher."""
        assert self.config is not None
        assert self.hydra_context is not None
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=self.config,
        )

        def launch(jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
            return launcher.launch(jobs, initial_job_idx=first)

        return launch


class GridSweeper(CaviarSweeper):
    """Trains every combination of the values that are named."""

    looks_on = True

    def __init__(self, params: Mapping[str, str]) -> None:
        self.params = params

    def sweep(self, arguments: list[str]) -> Any:
        from caviar.search.grid import run_grid

        assert self.config is not None
        assert self.hydra_context is not None
        named = [*(f"{key}={values}" for key, values in self.params.items()), *arguments]
        run_grid(self.config, named, self.launch(), self.hydra_context.config_loader)
