"""The settings of `hydra/launcher=pool`, such as `hydra.launcher.num_workers=8`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from caviar.base.errors import UserError


@dataclass
class PoolSettings:
    """What a user can say of the pool."""

    _target_: str = "hydra_plugins.caviar.launcher.PoolLauncher"
    num_workers: int | None = None
    """Trials at a time; null: one per GPU, else one per core."""
    gpus_per_trial: float | None = None
    """null: as many as `trainer.devices`; a fraction shares a GPU; 0 trains on the CPU."""
    timeout: float | None = None
    """Seconds for a trial; one that hangs is ended then, and recorded as a timeout."""
    retries: int = 1
    """How often a trial that was killed, or ran out of memory, is tried again."""
    max_failures: int = 3
    """Stop when the first so many trials all fail with the same error; 0 never stops."""
    preload: list[str] = field(
        default_factory=lambda: ["caviar.training.run", "caviar.search.trial", "sklearn.datasets"]
    )
    """Modules that every trial imports; your own, if importing it takes long."""

    def __post_init__(self) -> None:
        def least(value: float | None, bound: float) -> bool:
            return value is None or value >= bound

        rules: list[tuple[str, Any, bool, str]] = [
            ("num_workers", self.num_workers, least(self.num_workers, 1), "1 or more, or null"),
            ("gpus_per_trial", self.gpus_per_trial, least(self.gpus_per_trial, 0), "0 or more"),
            ("timeout", self.timeout, least(self.timeout, 1), "seconds, 1 or more, or null"),
            ("retries", self.retries, least(self.retries, 0), "0 or more"),
            ("max_failures", self.max_failures, least(self.max_failures, 0), "0 or more"),
        ]
        for name, value, holds, rule in rules:
            if not holds:
                raise UserError(f"hydra.launcher.{name}={value} should be {rule}")
