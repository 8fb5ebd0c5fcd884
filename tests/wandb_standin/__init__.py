"""A stand-in for the W&B service, on loopback: as much of it as sweeps need.

    with Service(tmp_path) as service:
        subprocess.run(["wandb", "sweep", "FILE"], env={**os.environ, **service.environment})

It lets the real client run end to end where the service is out of reach. What it answers was seen
on the wire with wandb 0.31; it proves nothing of the service itself.

state.py    projects, sweeps and runs
answers.py  what a GraphQL operation is told of them
law.py      how a random sweep draws
server.py   the wire
"""

from wandb_standin.server import Service
from wandb_standin.state import Run, Sweep

__all__ = ["Run", "Service", "Sweep"]
