"""Trials a minute: a stack, the pool, Optuna's loop, Ray Tune, a plain loop, and the arithmetic.

    python benchmarks/throughput.py                     # 64 trials of 10 epochs of digits: minutes
    python benchmarks/throughput.py --trials 256 --epochs 15 --share 0.1
    python benchmarks/throughput.py --shapes --trials 512 --epochs 15 --share 0.05
    python benchmarks/throughput.py --only auto plain arithmetic
    python benchmarks/throughput.py --device cuda       # needs no network

Everyone trains the same trials: the digits network of conf/, its lr, momentum and lr decay drawn
from `space=all` without shapes, and the seeds of one study; with `--shapes` its width, depth and
batch size too. Each is a process of
its own, and what counts is its wall time, start and imports included; `arithmetic` alone is timed
inside: the batched products of a stack, forward and backward, with nothing around them. One that is
slow may train a part of the trials (`--share`), and is said to have.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from caviar.stacked.plan import Configs

ROOT = Path(__file__).resolve().parents[1]
ONE = ["~space.model", "~space.data"]  # one shape


class Size(NamedTuple):
    """What everyone trains."""

    trials: int
    epochs: int
    shapes: bool
    device: str

    @property
    def overrides(self) -> list[str]:
        """Of the stage."""
        trainer = "cpu" if self.device == "cpu" else "gpu"
        number = [f"search.num_trials={self.trials}", f"trainer.max_epochs={self.epochs}"]
        return [*([] if self.shapes else ONE), *number, f"trainer={trainer}"]

    @property
    def options(self) -> list[str]:
        """Of this script."""
        numbers = ["--trials", str(self.trials), "--epochs", str(self.epochs)]
        return [*numbers, "--device", self.device, *(["--shapes"] if self.shapes else [])]


Peer = Callable[[Size, Path], float | None]  # its seconds, where its wall time is not meant


def stage(launcher: str) -> Peer:
    """A stage by `python train.py -m`."""

    def run(size: Size, runs: Path) -> float | None:
        command = [sys.executable, "train.py", "-m", "search.study=s", f"hydra/launcher={launcher}"]
        command += size.overrides
        environment = {**os.environ, "CAVIAR_RUNS": str(runs)}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        return None

    return run


def inside(name: str) -> Peer:
    """One of the functions below, in a process of its own."""

    def run(size: Size, runs: Path) -> float | None:
        command = [sys.executable, __file__, "--inside", name, *size.options]
        environment = {**os.environ, "CAVIAR_RUNS": str(runs), "CAVIAR_ROOT": str(ROOT)}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        return found.get("seconds")

    return run


def configs(size: Size) -> Configs:
    """The configs of the study's trials, as `python train.py -m` composes them."""
    from hydra import compose, initialize_config_dir

    from caviar.config import resolvers
    from caviar.config.overrides import rewrite_one_minus

    resolvers.register()
    command = [sys.executable, "train.py", "-m", "search.study=s", "search.dry_run=true"]
    command += size.overrides
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    jobs = [rewrite_one_minus(shlex.split(line)[2:]) for line in done.stdout.splitlines()]

    def composed(job: list[str]) -> Any:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("train", overrides=[*job, "paths.output=?"])

    return Configs(composed, jobs)


def trained(config: Any, folder: Path, device: str) -> float:
    """One run of Lightning's, as one's own script has it: the same module, data and length."""
    import warnings

    import pytorch_lightning as pl

    from caviar.config.compose import build
    from caviar.training.quiet import quiet

    quiet()
    warnings.simplefilter("ignore")
    pl.seed_everything(config.seed, verbose=False)
    data = build("data", config.data, _convert_="all")
    model = build("model", config.model, _convert_="all")
    model.optimizer_config, model.scheduler_config = config.optimizer, config.scheduler
    trainer = pl.Trainer(
        max_epochs=config.trainer.max_epochs,
        accelerator="cpu" if device == "cpu" else "gpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(model, datamodule=data)
    return float(trainer.callback_metrics["val/loss"])


def optuna(size: Size) -> dict[str, Any]:
    """Optuna's loop around the same LightningModule."""
    import optuna as library
    import torch

    torch.set_num_threads(1)
    library.logging.set_verbosity(library.logging.ERROR)
    queue = configs(size)
    study = library.create_study()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        study.optimize(
            lambda trial: trained(queue.of(trial.number), place, size.device), n_trials=size.trials
        )
    return {}


def ray(size: Size) -> dict[str, Any]:
    """Ray Tune with two workers."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # keeps Ray on loopback, if set before
    import ray as library
    from ray import tune

    composed = configs(size)
    queue = [copy.deepcopy(composed.of(number)) for number in range(size.trials)]

    def one(point: dict[str, int]) -> None:
        import torch

        from caviar.config import resolvers

        resolvers.register()  # of a process of Ray's
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            tune.report({"loss": trained(queue[point["number"]], Path(folder), size.device)})

    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(one, param_space={"number": tune.grid_search([*range(size.trials)])})
    if (failed := tuner.fit().num_errors) > 0:
        raise RuntimeError(f"{failed} of Ray's trials failed")
    return {}


def plain(size: Size) -> dict[str, Any]:
    """A raw PyTorch loop with one thread: no Lightning, nothing kept."""
    import torch
    import torch.nn.functional as F

    from caviar.config.compose import build
    from caviar.training.data import Rows
    from caviar.training.optim import build_optimizer, inverse_time

    torch.set_num_threads(1)
    queue = configs(size)
    for config in map(queue.of, range(size.trials)):
        torch.manual_seed(config.seed)
        data = build("data", config.data, _convert_="all")
        data.setup()
        parts = (data.splits["train"], data.splits["val"])
        rows, val = (Rows(p.inputs.to(size.device), p.labels.to(size.device)) for p in parts)
        model = build("model", config.model, _convert_="all").to(size.device)
        optimizer = build_optimizer(config.optimizer, model.parameters())
        schedule = inverse_time(optimizer, config.scheduler.rate)
        for _ in range(size.epochs):
            for index in torch.randperm(len(rows)).to(size.device).split(config.data.batch_size):
                optimizer.zero_grad()
                F.cross_entropy(model(rows.inputs[index]), rows.labels[index]).backward()
                optimizer.step()
            schedule.step()
            with torch.no_grad():
                F.cross_entropy(model(val.inputs), val.labels)
    return {}


def arithmetic(size: Size) -> dict[str, Any]:
    """The batched products of the training alone: what no stack can be faster than."""
    import torch

    from caviar.config.compose import build

    torch.set_num_threads(1)
    config = configs(size._replace(trials=1)).of(0)
    data = build("data", config.data, _convert_="all")
    data.setup()
    model = build("model", config.model, _convert_="all")
    members = min(64, size.trials)
    shapes = [p.shape[::-1] for p in model.parameters() if p.dim() == 2]
    weights = [torch.randn(members, *s, device=size.device).mul_(0.1) for s in shapes]
    batch, rows = config.data.batch_size, data.splits["train"]
    x = rows.inputs[:batch].to(size.device).expand(members, -1, -1).contiguous()
    steps = size.epochs * -(-len(rows) // batch) * -(-size.trials // members)
    begun = time.perf_counter()
    for _ in range(steps):
        inputs = [x]
        for weight in weights:
            inputs.append(torch.bmm(inputs[-1], weight))
        gradient = inputs[-1]
        for weight, before in zip(reversed(weights), reversed(inputs[:-1]), strict=True):
            torch.bmm(before.transpose(1, 2), gradient)
            if before is not x:
                gradient = torch.bmm(gradient, weight.transpose(1, 2))
    if size.device != "cpu":
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - begun}


INSIDE = {f.__name__: f for f in (optuna, ray, plain, arithmetic)}
PEERS: dict[str, Peer] = {
    "auto": stage("auto"),
    "stacked": stage("stacked"),
    "pool": stage("pool"),
    **{name: inside(name) for name in INSIDE},
}
SLOW = ("pool", "optuna", "ray")
# How many times as many trials a minute `auto` should have, of one shape and of many.
GOALS = {False: {"optuna": 20.0, "pool": 8.0, "arithmetic": 0.5}, True: {"optuna": 6.0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--shapes", action="store_true", help="other widths, depths, batch sizes")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--share", type=float, default=1.0, help="of the trials, for slow peers")
    parser.add_argument("--only", nargs="+", choices=[*PEERS], default=[*PEERS])
    parser.add_argument("--inside", choices=[*INSIDE], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        size = Size(given.trials, given.epochs, given.shapes, given.device)
        print(json.dumps(INSIDE[given.inside](size)))
        return
    where = f"{os.cpu_count()} cores" if given.device == "cpu" else _gpu()
    shapes = "of many shapes" if given.shapes else "of one shape"
    print(f"{given.trials} trials {shapes}, {given.epochs} epochs of digits, {where}")
    rates: dict[str, float] = {}
    for name in given.only:
        if given.shapes and name == "arithmetic":
            continue
        if name == "ray" and importlib.util.find_spec("ray") is None:
            print(f"{name:>10}  not installed; pip install 'ray[tune]'")
            continue
        trials = max(2, round(given.trials * (given.share if name in SLOW else 1)))
        with tempfile.TemporaryDirectory() as runs:
            begun = time.perf_counter()
            size = Size(trials, given.epochs, given.shapes, given.device)
            own = PEERS[name](size, Path(runs))
            seconds = own or time.perf_counter() - begun
        rates[name] = 60 * trials / seconds
        ratio = ""
        if (ours := next(iter(rates))) != name and ours in ("auto", "stacked"):
            found = rates[ours] / rates[name]
            ratio = f"; {ours} has {found:.2f} times as many"
            if (goal := GOALS[given.shapes].get(name)) is not None:
                missed = f", missed by a factor of {goal / found:.1f}" if found < goal else ""
                ratio += f" (goal {goal:g}{missed})"
        part = "" if trials == given.trials else f"; {trials} of them"
        each = f"{rates[name]:8.0f} trials a minute, {1e3 * seconds / trials:7.1f} ms each"
        print(f"{name:>10}  {each}{ratio}{part}", flush=True)


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()


if __name__ == "__main__":
    main()
