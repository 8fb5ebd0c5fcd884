"""Does everything run on this machine's GPU: a table of passed, failed, and not possible here.

    make gpu-check                      # under ten minutes; no network, no test framework
    make gpu-check ARGS="stacked ddp"   # some of it
    python benchmarks/gpu_check.py --device cpu

Without a GPU it runs on the CPU, where everything but the device is the same, and says so. Each
line is commands as a user types them, in processes of their own, and a look at what they left.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 150  # seconds for a command
DIGITS = ["experiment=digits", "trainer.max_epochs=3"]


class NotHere(Exception):
    """What a check needs and this machine lacks."""


class Place:
    """A scratch folder for runs, and the device that they train on.

    Arguments:
        runs: the folder.
        gpus: of this machine; 0 trains on the CPU.
    """

    def __init__(self, runs: Path, gpus: int) -> None:
        self.runs, self.gpus = runs, gpus
        self.trainer = "trainer=gpu" if gpus else "trainer=cpu"
        self.environment = {**os.environ, "CAVIAR_RUNS": str(runs), "CAVIAR_ROOT": str(ROOT)}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start `train.py …` or `caviar …`."""
        program = [str(ROOT / "train.py"), *words]
        if words[0] == "caviar":
            program = ["-c", "from caviar.cli import main; main()", *words[1:]]
        return subprocess.Popen(
            [sys.executable, *program],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, code: int = 0) -> str:
        """Run it to its end; what it printed."""
        return self.end(self.begin(*words), code)

    def end(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """Wait for a process; what it printed."""
        try:
            printed = process.communicate(timeout=LIMIT)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        assert process.returncode == code, printed
        return printed

    def result(self, folder: str) -> dict[str, Any]:
        """A run's `result.json`."""
        found: dict[str, Any] = json.loads((self.runs / folder / "result.json").read_text())
        return found

    def stage(self, study: str, *words: str, trials: int = 4) -> list[dict[str, Any]]:
        """Run a stage; the results of its trials."""
        given = [*DIGITS, self.trainer, f"search.study={study}", f"search.num_trials={trials}"]
        self.run("-m", *given, "space=tier_1", *words)
        results = [self.result(f"{study}/01_coarse/{n}") for n in range(trials)]
        assert {r["status"] for r in results} <= {"complete", "diverged"}, results
        return results


def awaited(condition: Callable[[], object]) -> None:
    """Wait for what another process does."""
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def float32(place: Place) -> str:
    place.run(*DIGITS, place.trainer)
    result = place.result("train/0")
    assert result["last"] < 1.5, result
    return f"val/loss {result['last']:.3f} after 3 epochs, {result['seconds']:.1f} s"


def bf16(place: Place) -> str:
    where = f"hydra.run.dir={place.runs / 'bf16'}"
    place.run(*DIGITS, place.trainer, "+trainer.precision=bf16-mixed", where)
    result = place.result("bf16")
    assert result["last"] < 1.5, result
    return f"val/loss {result['last']:.3f} after 3 epochs, {result['seconds']:.1f} s"


def pool(place: Place) -> str:
    place.stage("pool")
    return "4 trials, one a GPU" if place.gpus else "4 trials, one a core"


def shared(place: Place) -> str:
    if not place.gpus:
        raise NotHere("there is no GPU to share")
    place.stage("shared", "hydra.launcher.gpus_per_trial=0.5")
    return "4 trials, two at a time on a GPU"


def stacked(place: Place) -> str:
    results = place.stage("stacked", "hydra/launcher=stacked", "model.dropout=0", trials=8)
    alone = place.stage("alone", "model.dropout=0", trials=2)
    pairs = [(a["last"], b["last"]) for a, b in zip(results, alone, strict=False)]
    worst = max(abs(a - b) / abs(b) for a, b in pairs)
    assert worst < 1e-3, pairs
    return f"8 trials as one; two of them alone differ by {worst:.0e}"


def resumed(place: Place) -> str:
    where = place.runs / "resumed"
    run = [*DIGITS, place.trainer, "trainer.max_epochs=400", f"hydra.run.dir={where}"]
    last = where / "checkpoints/last.ckpt"
    process = place.begin(*run)
    awaited(last.exists)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    on = ["experiment=digits", place.trainer, "trainer.max_epochs=60", f"ckpt_path={last}"]
    place.run(*on, f"hydra.run.dir={where}_on")
    return f"killed, went on to epoch {place.result('resumed_on')['epochs'] - 1}"


def ddp(place: Place) -> str:
    trainer = "trainer=ddp" if place.gpus > 1 else "trainer=ddp_cpu"
    place.run(*DIGITS, trainer, f"hydra.run.dir={place.runs / 'ddp'}")
    assert place.result("ddp")["last"] < 2
    return f"{place.gpus} GPUs" if place.gpus > 1 else "two processes on the CPU: one GPU or none"


def nudge(place: Place) -> str:
    given = ["search.study=nudged", place.trainer, "trainer.max_epochs=3000"]
    process = place.begin("caviar", "panda", "start", *given)
    try:
        awaited(lambda: [*place.runs.glob("nudged/checkpoints/branch0/day*.ckpt")])
        said = place.run("caviar", "panda", "set", "search.study=nudged", "optimizer.lr=*0.5")
        assert "0.005" in said, said
        place.run("caviar", "panda", "stop", "search.study=nudged")
        process.communicate(timeout=LIMIT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return "lr 0.01 → 0.005 in a run"


CHECKS = (float32, bf16, pool, shared, stacked, resumed, ddp, nudge)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [check.__name__ for check in CHECKS]
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join(names))
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    given = parser.parse_args()
    for name in given.checks:
        if name not in names:
            parser.error(f"{name} is none of {', '.join(names)}")
    import torch

    gpus = torch.cuda.device_count() if given.device == "auto" else 0
    device = torch.cuda.get_device_name(0) if gpus else f"no GPU; {platform.processor() or 'CPU'}"
    print(f"{max(gpus, 1)} × {device}, torch {torch.__version__}")
    runs = Path(tempfile.mkdtemp(prefix="caviar-gpu-check-"))
    failed = 0
    for check in CHECKS:
        if given.checks and check.__name__ not in given.checks:
            continue
        begun = time.monotonic()
        try:
            what, words = "passed", check(Place(runs, gpus))
        except NotHere as lacks:
            what, words = "not here", str(lacks)
        except Exception as error:
            failed += 1
            what, words = "FAILED", f"{type(error).__name__}: {error}"
        took = time.monotonic() - begun
        print(f"{check.__name__:>8}  {what:<8}  {took:5.0f} s  {words}", flush=True)
    if failed:
        print(f"what they left is in {runs}")
        sys.exit(1)
    shutil.rmtree(runs)


if __name__ == "__main__":
    main()
