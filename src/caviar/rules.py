"""Rules of the root config that no single part owns, checked once before anything runs."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from caviar.errors import UserError

MODES = ("min", "max")


def check_root(config: DictConfig) -> None:
    """Refuse root values that would fail late, or far from where they were written.

    Raises:
        UserError: names the key and the rule.
    """
    mode, seed, threads = config.metric.mode, config.seed, config.threads
    rules: list[tuple[str, Any, bool, str]] = [
        ("metric.mode", mode, mode in MODES, f"one of {', '.join(MODES)}"),
        ("metric.name", config.metric.name, bool(config.metric.name), "the name of a logged value"),
        ("seed", seed, seed is None or _whole(seed, 0), "a whole number from 0 on, or null"),
        ("threads", threads, _whole(threads, 1), "a whole number from 1 on"),
        ("fit", config.fit, isinstance(config.fit, bool), "true or false"),
        ("test", config.test, isinstance(config.test, bool), "true or false"),
    ]
    for name, value, holds, rule in rules:
        if not holds:
            raise UserError(f"{name}={value} should be {rule}")


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
