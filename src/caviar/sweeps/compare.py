"""Whether the service still has the sweep that was registered.

An agent runs the command that the sweep on the server names, on this machine. Whoever may edit the
sweep there decides what that is, so it is compared before an agent starts.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import yaml

from caviar.errors import UserError
from caviar.ledger.registered import Registered

DECISIVE = ("program", "command")  # beside the parameters' names: what runs here


def refuse_changed_sweep(registered: Registered, document: Mapping[str, Any]) -> str:
    """Compare with the sweep's configuration on the server.

    Returns:
        What else differs, such as a range, as lines to show; empty if nothing does.

    Raises:
        UserError: program, command or the parameters' names differ; it shows how.
    """
    ours: dict[str, Any] = yaml.safe_load(registered.text)
    there = dict(document)
    changed = difference(_decisive(ours), _decisive(there))
    if changed:
        raise UserError(
            f"the sweep {registered.path} on the server is not the one that was registered from "
            f"{registered.stage}.yaml, and its agents would run here what it says now:\n{changed}\n"
            "if you do not know who changed it and why, start no agent; else register the stage "
            f"anew: caviar sweep search.study={registered.sweep.study} "
            f"search.stage={registered.stage} --force"
        )
    kept = [key for key in ours if key != "name"]  # anybody may call it otherwise
    return difference({k: ours[k] for k in kept}, {k: there.get(k) for k in kept})


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Lines that differ, ours behind -, theirs behind +; empty if none does."""
    lines = list(difflib.unified_diff(_lines(ours), _lines(theirs), lineterm="", n=0))[2:]
    return "\n".join(f"  {line}" for line in lines if not line.startswith("@@"))


def _decisive(document: Mapping[str, Any]) -> dict[str, Any]:
    decisive = {key: document.get(key) for key in DECISIVE}
    parameters = document.get("parameters")
    names = sorted(parameters) if isinstance(parameters, Mapping) else parameters
    return {**decisive, "parameters": names}


def _lines(value: Any) -> list[str]:
    """One thing a line, each with where it stands, so that a line that differs says all."""
    lines: list[str] = []
    for key, node in sorted(value.items()):
        if isinstance(node, Mapping):
            lines += [f"{key}.{line}" for line in _lines(node)]
        elif isinstance(node, list):
            lines += [f"{key}: {item}" for item in node]
        else:
            lines.append(f"{key}: {node}")
    return lines
