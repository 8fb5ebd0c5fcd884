"""The Hydra application behind `train.py` and the `caviar` command.

It registers the resolvers before Hydra composes, and rewrites `one_minus.` overrides. Torch is
imported only when a model is trained.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from caviar import project, resolvers
from caviar.errors import UserError
from caviar.messages import SLIPS, clear_errors
from caviar.overrides import rewrite_one_minus
from caviar.signals import tidy_sigterm
from caviar.sweeps.child import SWEEP, complete_overrides, started_by_agent
from caviar.wandb_run import told_to_wandb

_slips: list[Exception] = []


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as `train.py ARGUMENTS`; the process's own by default."""
    by_agent = started_by_agent()
    telling = told_to_wandb() if by_agent else nullcontext()
    with clear_errors(), telling, tidy_sigterm():
        resolvers.register()  # launchers hand them on to their workers, with Hydra's state
        root = project.root()
        os.environ["CAVIAR_ROOT"] = str(root)
        given = sys.argv[1:] if arguments is None else arguments
        if by_agent:
            given = complete_overrides(given)
        # Lightning starts the other ranks of a distributed run from sys.argv.
        sys.argv = [str(root / "train.py"), *rewrite_one_minus(given)]
        _slips.clear()
        hydra_main(str(root / "conf"), "train", version_base="1.3")(task)()
        if _slips:
            raise _slips[0]


def task(config: DictConfig) -> float | None:
    """What Hydra runs: a trial of a study, a model that is looked after, or a single run."""
    output = Path(HydraConfig.get().runtime.output_dir)
    if config.trial.number is not None:
        from caviar.trial import run_trial

        return run_trial(config, output)
    try:
        if config.panda.run:
            from caviar.panda.drive import drive

            return drive(config, output)
        return single_run(config, output)
    except SLIPS as slip:  # Hydra would print all overrides in front of our message
        _slips.append(slip)
        return None


def single_run(config: DictConfig, output: Path) -> float | None:
    """Train one model, and say what came out; the best value."""
    from caviar.training import train
    from caviar.view import print_result, shown_path

    if os.environ.get(SWEEP) and (config.test or not config.fit or config.ckpt_path is not None):
        raise UserError(
            f"test={config.test} fit={config.fit} ckpt_path={config.ckpt_path}: a run of a sweep "
            "is trained from its own start, and the test set is locked; confirm opens it once"
        )
    try:
        result = train(config, output)
    except KeyboardInterrupt as interrupt:
        last = output / "checkpoints" / "last.ckpt"
        if not last.exists():
            raise
        raise type(interrupt)(
            f"the epochs so far are kept; go on with ckpt_path={shown_path(last)}"
        ) from None
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print_result(result, config.metric.name, output)
    return result.best
