"""Every claim of the lecture, put to the test: writes docs/lecture.md and its pictures.

    python benchmarks/lecture/main.py                    # all sections, half an hour
    python benchmarks/lecture/main.py --quick            # some minutes, into runs/lecture
    python benchmarks/lecture/main.py --only grid,noise  # some sections, into runs/lecture

One module a section: grid, scales, beta, averages, rounds, importance, noise. Each trains, draws
its pictures, and hands over numbers with intervals; verdicts come from these numbers by the rules
in evidence.py, and from nothing else. The same seed gives the same numbers, whatever --workers.
"""

import sys
from pathlib import Path

# The one place that makes this folder, `lecture`, and its neighbour, `trainings`, importable; the
# pool's processes inherit it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lecture.run import main

if __name__ == "__main__":
    main()
