"""Train one model, or with -m draw and run one stage of random search.

    python train.py                                     # one model, some seconds
    python train.py optimizer.lr=0.05 model.width=128
    python train.py -m search.num_trials=8              # eight random trials
    python train.py -m search.dry_run=true              # what they would be

Every key is in conf/; `python train.py --cfg job` prints them all.
"""

import os
from pathlib import Path

os.environ.setdefault("CAVIAR_ROOT", str(Path(__file__).resolve().parent))

from caviar.app import main

if __name__ == "__main__":
    main()
