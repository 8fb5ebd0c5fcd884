"""What a search survives: real faults, done to a real stage, and what became of it.

    python benchmarks/faults.py                           # all of them, some minutes
    python benchmarks/faults.py --quick                   # smaller stages
    python benchmarks/faults.py --list
    python benchmarks/faults.py --only driver worker

One row a fault. A stage has *survived* if, once it was brought to its end, each trial has exactly
one result; what was finished before is unchanged; every loss, curve and metric is that of a stage
that nobody disturbed, to the last bit; and no process is left. *Seconds to continue* run from the
fault, or from the command that was repeated after it, to the next result.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# tests/ has the PostgreSQL server and the models that go wrong; hence the imports below (E402).
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]

import fault_machine  # noqa: E402, F401  its faults join the table
from fault_judge import judge  # noqa: E402
from fault_scenes import SCENES, Scene  # noqa: E402
from fault_stage import FULL, QUICK, Broken, NotRun, Size, Stage  # noqa: E402

HEAD = (
    "| fault | survived | finished trials lost | recorded twice | seconds to continue | seen |\n"
    "|---|---|---|---|---|---|"
)


class Table:
    """Runs scenes in `folder`, and the undisturbed stages to compare them with."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder, self.size = folder, size
        self._references: dict[tuple[str, ...], Stage] = {}

    def row(self, name: str) -> tuple[bool | None, str]:
        """Whether a fault was survived, None if it was not run, and its line of the table."""
        scene = SCENES[name]
        reference = self._reference(scene)
        stage = self._stage(name, scene)
        try:
            seen = scene.run(stage)
            judged = judge(stage, reference)
        except NotRun as reason:
            return None, f"| {scene.fault} | not run: {reason} | | | | |"
        except Broken as error:
            seen, judged = "", judge(stage, reference)
            judged.complaints.insert(0, str(error))
        finally:
            stage.leave()
        survived = not judged.complaints
        seconds = "" if stage.seconds is None else f"{stage.seconds:.1f}"
        told = "; ".join([seen, *judged.complaints] if seen else judged.complaints)
        told = " ".join(told.replace("|", "/").split())
        return survived, (
            f"| {scene.fault} | {'yes' if survived else '**no**'} | {judged.lost} | "
            f"{judged.twice} | {seconds} | {told} |"
        )

    def _stage(self, name: str, scene: Scene) -> Stage:
        size = replace(self.size, trials=scene.trials or self.size.trials)
        return Stage(self.folder / name, size, *scene.overrides)

    def _reference(self, scene: Scene) -> Stage:
        """The stage of a scene, undisturbed."""
        if scene.overrides not in self._references:
            stage = self._stage(f"reference_{len(self._references)}", scene)
            try:
                stage.start()
                stage.end(0)
            finally:
                stage.leave()
            self._references[scene.overrides] = stage
        return self._references[scene.overrides]


def main() -> None:
    """Print the table, a row as soon as it is known; exit code 1 if a fault was not survived."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller stages, shorter waits")
    parser.add_argument("--list", action="store_true", help="the names of all faults")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=SCENES, default=[*SCENES])
    options = parser.parse_args()
    if options.list:
        for name, scene in SCENES.items():
            print(f"{name:18} {scene.fault}")
        return
    size = QUICK if options.quick else FULL
    print(
        f"{size.trials} trials of {size.epochs} epochs, 2 workers; {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}\n\n{HEAD}",
        flush=True,
    )
    # Where a shell starts this in the background, Ctrl-C would be ignored, by our drivers as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    broken = 0
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        table = Table(Path(folder), size)
        for name in options.only:
            survived, line = table.row(name)
            print(line, flush=True)
            broken += survived is False
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
