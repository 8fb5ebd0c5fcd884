"""A user's own train.py, which holds its classes itself: python tests/own_script.py

Its data module has workers and a lambda, prepares a file slowly, and writes down what its process
sees.
"""

import atexit
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from caviar.app import main
from caviar.training.models import MLP

FEATURES = 64
PLACE = Path(os.environ["PLACE"])  # where all this is written


def facts() -> dict[str, Any]:
    """What code can find out of the process that it runs in."""
    process, script = multiprocessing.current_process(), sys.modules["__main__"]
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "start method": multiprocessing.get_start_method(allow_none=True),
        "process": [process.name, process.daemon, str(multiprocessing.parent_process())],
        "tracker": resource_tracker._resource_tracker._fd,
        "script": [script.__file__, str(script.__spec__), script.Net is Net],
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        "handlers": {n: str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGCHLD)},
        "blocked signals": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "path": sys.path,
        "folder": os.getcwd(),
        "sharing": torch.multiprocessing.get_sharing_strategy(),
        "threads": torch.get_num_threads(),
        "variables": sorted(os.environ),
    }


class Net(MLP):
    """Dies in the first step of one trial, and leaves behind what only others can remove."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if f"trial.number={os.environ['DIES']}" in sys.argv:
            memory = shared_memory.SharedMemory(create=True, size=1)
            queue = multiprocessing.get_context("spawn").Queue()  # has named semaphores
            other = subprocess.Popen(["sleep", "600"], process_group=0)
            names = [memory.name, *(lock._semlock.name for lock in (queue._rlock, queue._wlock))]
            (PLACE / "left.json").write_text(json.dumps([names, other.pid]))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch, batch_idx)


class Rows(Dataset[Any]):
    def __len__(self) -> int:
        return 200

    def __getitem__(self, index: int) -> Any:
        row = torch.randn(FEATURES, generator=torch.Generator().manual_seed(index))
        return row, row[:10].argmax()


class Data(pl.LightningDataModule):
    def __init__(self, batch_size: int, seed: int, **of_digits: Any) -> None:
        super().__init__()
        self.batch_size, self.seed = batch_size, seed

    def prepare_data(self) -> None:
        with open(PLACE / "calls", "a") as calls:
            calls.write("in a trial\n" if "CAVIAR_SLOT" in os.environ else "alone\n")
        file = PLACE / "prepared"
        if not file.exists():
            with open(file, "w", buffering=1) as half:
                half.write("one\n")
                time.sleep(1)
                half.write("two\n")

    def setup(self, stage: str | None = None) -> None:
        assert (PLACE / "prepared").read_text() == "one\ntwo\n"
        atexit.register((PLACE / "ended").touch)
        if stage == "fit":
            (PLACE / f"{self.trainer.max_epochs}.json").write_text(json.dumps(facts()))

    def train_dataloader(self) -> Any:
        return DataLoader(
            Rows(),
            self.batch_size,
            num_workers=2,
            collate_fn=lambda rows: tuple(map(torch.stack, zip(*rows, strict=True))),
        )

    val_dataloader = test_dataloader = train_dataloader


if __name__ == "__main__":
    main()
