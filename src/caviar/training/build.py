"""Instantiate what the config names, so that a wrong argument is the user's clear message."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from caviar.errors import UserError


def build(node: str, config: Any, **arguments: Any) -> Any:
    """`instantiate(config, **arguments)`; `node` is the config key that an error names.

    Raises:
        UserError: the target is unknown, or refuses its arguments.
    """
    try:
        return instantiate(config, **arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        what = f"{type(cause).__name__}: {cause}" if cause is not error else str(error)
        given = " ".join(f"{k}={v!r}" for k, v in config.items() if not k.startswith("_"))
        raise UserError(
            f"{node} (_target_ {config.get('_target_')}): {what}\n{node} is {given}\n"
            "HYDRA_FULL_ERROR=1 in the environment shows the traceback"
        ) from error
