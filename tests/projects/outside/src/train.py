"""A training as people have it: a Hydra application that knows nothing of Caviar."""

import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig

ROOT = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("DIGITS_ROOT", ROOT)
sys.path.insert(0, ROOT)


def train(cfg: DictConfig) -> dict[str, Any]:
    """Fit, and test the best epoch; what was logged."""
    if cfg.get("seed"):
        get_method(f"{cfg.package}.seed_everything")(cfg.seed, workers=True)
    datamodule = instantiate(cfg.data)
    model = instantiate(cfg.model)
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values()]
    loggers = [instantiate(logger) for logger in (cfg.get("logger") or {}).values()]
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers)
    if cfg.get("train"):
        trainer.fit(model=model, datamodule=datamodule, ckpt_path=cfg.get("ckpt_path"))
    logged = dict(trainer.callback_metrics)
    if cfg.get("test"):
        best = trainer.checkpoint_callback.best_model_path or None
        trainer.test(model=model, datamodule=datamodule, ckpt_path=best, verbose=False)
    return {**logged, **trainer.callback_metrics}


@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg: DictConfig) -> float | None:
    """Return what a sweeper is to optimize."""
    metrics = train(cfg)
    name = cfg.get("optimized_metric")
    return float(metrics[name]) if name else None


if __name__ == "__main__":
    main()
