"""The command line of the page: which sections, how many repetitions, where to.

python benchmarks/lecture/main.py --quick --only averages
"""

from __future__ import annotations

import argparse
import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from lecture import averages, beta, grid, importance, noise, rounds, scales
from lecture.evidence import Section
from lecture.lab import Lab, one_thread
from lecture.page import Run, write_page

ROOT = Path(__file__).resolve().parents[2]
SECTIONS: dict[str, Callable[[Lab], Section]] = {
    "grid": grid.run,
    "scales": scales.run,
    "beta": beta.run,
    "averages": averages.run,
    "rounds": rounds.run,
    "importance": importance.run,
    "noise": noise.run,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Put the lecture's claims to the test.")
    parser.add_argument("--quick", action="store_true", help="few repetitions, some minutes")
    parser.add_argument("--only", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--output", type=Path, help="folder (default docs; runs/lecture if not all is run in full)"
    )
    args = parser.parse_args(argv)
    keys = args.only.split(",") if args.only else list(SECTIONS)
    if unknown := [key for key in keys if key not in SECTIONS]:
        parser.error(f"--only {unknown[0]}: there is no such section; use {', '.join(SECTIONS)}")
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: at least 1")
    partial = args.quick or args.only
    output = args.output or ROOT / ("runs/lecture" if partial else "docs")

    one_thread()
    sections: dict[str, Section] = {}
    failed: dict[str, str] = {}
    options = [*(["--quick"] if args.quick else []), *([f"--seed {args.seed}"] * bool(args.seed))]
    with Lab(args.seed, args.workers, args.quick) as lab:
        for key in [key for key in SECTIONS if key in keys]:
            lab.say(key)
            try:
                sections[key] = SECTIONS[key](lab)
            except KeyboardInterrupt:  # keep what there is, but not in the place of a whole page
                failed[key] = "interrupted"
                output = args.output or ROOT / "runs/lecture"
                break
            except Exception as error:  # one section must not take the others' results along
                traceback.print_exc()
                failed[key] = f"{type(error).__name__}: {error}"
        run = Run(options, (time.perf_counter() - lab.start) / 60, lab.trainings, lab.kept)
        page = write_page(output, sections, failed, run)
        for section in sections.values():
            for claim in section.claims:
                print(f"{claim.says}: {claim.verdict().replace('**', '')}")
        lab.say(f"wrote {os.path.relpath(page)}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
