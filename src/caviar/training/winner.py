"""A trained model back from its folder, ready to be used.

import caviar

winner = caviar.load("runs/digits")                  # a study that was confirmed
winner = caviar.load("runs/train/3")                 # or any run
logits = winner.model(winner.data.transform(rows))   # rows as they came, before any scaling
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from caviar.base.errors import UserError
from caviar.base.result import Result
from caviar.config import resolvers
from caviar.config.compose import build
from caviar.training.checkpoints import read_checkpoint
from caviar.training.modules import Module


@dataclass(frozen=True)
class Loaded:
    """What `caviar.load` gives."""

    model: pl.LightningModule
    """With its trained weights, in evaluation mode, on the CPU."""
    data: Any
    """Its data module; None where the model has its own loaders. What it has computed from the
    training data, such as means, is that of the training."""
    config: DictConfig
    """As the run had it."""
    checkpoint: Path
    """The file that the weights are from."""


def load(folder: str | Path, trust_checkpoints: bool = False) -> Loaded:
    """The winner of a study, or the model of a run.

    Where the verdict says to keep the default, that is what a study has for a winner.

    Arguments:
        folder: `runs/<study>` with a verdict, or the folder of a run or a trial.
        trust_checkpoints: load whatever the checkpoint holds, which may run anything.

    Raises:
        UserError: the folder holds no such thing, or its checkpoint does not load.
    """
    folder = Path(folder)
    if (folder / "verdict.json").exists():
        folder, checkpoint = _winner(folder)
    else:
        checkpoint = _best(folder)
    path = folder / ".hydra" / "config.yaml"
    if checkpoint is None or not path.exists():
        raise UserError(
            f"{folder} is neither a study that was confirmed nor a run with a checkpoint; write, "
            "for example, caviar.load('runs/digits')"
        )
    resolvers.register()
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    kept = read_checkpoint(checkpoint, trust_checkpoints)
    model = build("model", config.model, _convert_="all")
    if isinstance(model, Module):
        model.optimizer_config, model.scheduler_config = config.optimizer, config.scheduler
    try:
        model.on_load_checkpoint(kept)
        model.load_state_dict(_uncompiled(kept["state_dict"], model))
    except RuntimeError as error:
        raise UserError(f"{checkpoint} does not fit {config.model._target_}: {error}") from None
    data = build("data", config.data, _convert_="all") if config.get("data") else None
    state = kept.get(type(data).__qualname__)
    if data is not None and state is not None:
        data.load_state_dict(state)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return Loaded(model, data, config, checkpoint)


def _uncompiled(weights: dict[str, Any], model: pl.LightningModule) -> dict[str, Any]:
    """The weights of a module that torch.compile had wrapped when they were saved."""
    own = model.state_dict()
    return {k if k in own else k.replace("_orig_mod.", ""): v for k, v in weights.items()}


def _winner(study: Path) -> tuple[Path, Path | None]:
    """The folder of the winner's best run, or the default's where nothing is shown to be better;
    and the checkpoint."""
    verdict = json.loads((study / "verdict.json").read_text(encoding="utf-8"))
    kept = verdict.get("kept", "winner")  # an earlier version's is the winner's in any case
    runs = [study / "confirm" / str(number) for number in verdict[kept]["trials"]]
    results = {run: _result(run) for run in runs if (run / "result.json").exists()}
    losses = {run: r.loss(verdict["mode"]) for run, r in results.items() if r.checkpoint}
    if not losses:
        return study, None
    best = min(losses, key=lambda run: losses[run])
    copy = study / "best.ckpt"
    return best, copy if copy.exists() else _best(best)


def _best(run: Path) -> Path | None:
    """A run's best checkpoint, also where its folder has been moved."""
    if not (run / "result.json").exists():
        return None
    named = Path(_result(run).checkpoint or "")
    places = (named, run / "checkpoints" / named.name)
    return next((place for place in places if place.is_file()), None)


def _result(run: Path) -> Result:
    return Result.from_dict(json.loads((run / "result.json").read_text(encoding="utf-8")))
