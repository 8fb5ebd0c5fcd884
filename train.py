"""Train one model, or with -m draw and run one stage of random search.

    python train.py                                     # one model, some seconds
    python train.py optimizer.lr=0.05 model.width=128
    python train.py -m search.num_trials=8              # eight random trials
    python train.py -m search.dry_run=true              # what they would be

Every key is in conf/; `python train.py --cfg job` prints them all.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("CAVIAR_ROOT", str(Path(__file__).resolve().parent))

try:
    from caviar.app import main
except ModuleNotFoundError as error:  # another Python than the environment's
    print(
        f"error: {sys.executable} has no {error.name}: activate the environment that Caviar is "
        "installed in, such as by: source .venv/bin/activate; make setup installs it",
        file=sys.stderr,
    )
    sys.exit(2)

if __name__ == "__main__":
    main()
