"""The rooms that nothing below the command line knows of: W&B, the panda, the report.

Each may be deleted as a folder; what it adds is missing then, and the rest works. The core has
three places where a room can add something: a kind of ledger (`caviar.ledger.storages.register`),
what is told when a run has ended (`train(…, ended=…)`), and what is left behind when a search is
confirmed (`caviar.search.run.run(…, confirmed=…)`). This module fills them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from caviar.base.errors import UserError
from caviar.base.result import Result

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from caviar.search.study import Study

ROOMS = ("wandb", "panda", "pages")
Left = tuple[Path, str]  # a file, and what it is


def has(room: str) -> bool:
    """Whether `src/caviar/<room>/` is there."""
    # A folder that only holds __pycache__, as a deleted one may, is a package without a file.
    spec = find_spec(f"caviar.{room}")
    return spec is not None and spec.origin is not None


@contextmanager
def naming_the_deleted() -> Iterator[None]:
    """Say it in one sentence, where a command needs a room that was deleted."""
    try:
        yield
    except ModuleNotFoundError as error:
        room = str(error.name).removeprefix("caviar.").partition(".")[0]
        if room not in ROOMS or has(room):
            raise
        raise UserError(
            f"src/caviar/{room}/ is not there, and this command needs it; put the folder back"
        ) from None


def attach_ledgers() -> None:
    """Let a study be opened whose stages are W&B sweeps."""
    if has("wandb"):
        from caviar.wandb.ledger import register

        register()


def refuse_test(config: DictConfig) -> None:
    """Keep the test set locked for whatever a W&B agent started, its first process or not."""
    if "WANDB_SWEEP_ID" in os.environ and has("wandb"):
        from caviar.wandb.child import refuse_test

        refuse_test(config)


def sweep_run() -> ModuleType | None:
    """`caviar.wandb.child`, if this is the first process of a run that a W&B agent started."""
    # The agent's own variable first: importing the room takes longer than training one batch.
    if "WANDB_SWEEP_ID" not in os.environ or not has("wandb"):
        return None
    from caviar.wandb import child

    return child if child.started_by_agent() else None


def is_panda(folder: Path) -> bool:
    """Whether the study in a folder is one model that is looked after."""
    if not has("panda"):
        return False
    from caviar.panda.journal import Journal

    return Journal(folder).exists()


def live_keys(trainer: Any, config: DictConfig) -> list[str] | None:
    """What a panda could change in a training that has begun; None where there is no such room."""
    if not has("panda"):
        return None
    from caviar.panda.force import InForce

    force = InForce(config)
    force.begin(trainer, [])
    return list(force.values())


def run_ended(result: Result, curve: Mapping[int, float]) -> None:
    """Tell W&B, if this process has a run there, what came of it."""
    if has("wandb"):
        from caviar.wandb.child import finish_wandb

        finish_wandb(result, curve)


def write_report_of(study: Study) -> list[Left]:
    """The report of a study that was just confirmed.

    Raises:
        Exception: of any kind; whoever calls has its result, and says how to try again.
    """
    if not has("pages"):
        return []
    from caviar.pages import write_report
    from caviar.screen.view import plural

    page, *pictures = write_report(study)
    left = [(page, "open it in a browser: what mattered, and whether to believe the gain")]
    if pictures:
        left.append((pictures[0].parent, f"its {plural(len(pictures), 'picture')} as PNG"))
    return left
