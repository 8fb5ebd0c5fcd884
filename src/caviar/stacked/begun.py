"""Members that were begun before: a stack's checkpoint, put together from one of each.

A trial that goes on behind a rung has the checkpoint that a run alone has too. Several of them go
on as a stack, whatever they were trained in so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caviar.base.errors import UserError
from caviar.stacked.members import Member
from caviar.stacked.optimizers import NUMBERS, SKIPPED
from caviar.stacked.widths import filled
from caviar.training.callbacks import BestMetric
from caviar.training.checkpoints import read_checkpoint, rows_before


@dataclass
class Begun:
    """What a member goes on from."""

    checkpoint: dict[str, Any]
    rows: list[dict[str, Any]]
    """Of metrics.csv, so far."""
    best: Path | None
    """The checkpoint of its best epoch so far, which stays if there is no better one."""

    @property
    def steps(self) -> int:
        """That it has been trained; members of a stack have been trained alike."""
        return int(self.checkpoint["global_step"])


def begun(folder: Path, last: Path, trusted: bool) -> Begun | None:
    """What a run in a folder has left at the end of an epoch; None where a stack cannot go on from
    it.

    Arguments:
        folder: of the run.
        last: its last checkpoint.
        trusted: whether the file may hold anything.
    """
    try:
        checkpoint = read_checkpoint(last, trusted)
    except UserError:  # which the run alone will say
        return None
    gathered = checkpoint.get("gathered") or {}
    if gathered.get("logged") or gathered.get("metrics") or len(checkpoint["optimizer_states"]) > 1:
        return None  # inside of an epoch, or with tensors of the module's own
    best = [
        state.get("best_model_path")
        for key, state in checkpoint["callbacks"].items()
        if "Checkpoint" in key and state.get("monitor")
    ]
    path = Path(best[0]) if best and best[0] else None
    return Begun(checkpoint, rows_before(folder, checkpoint), path)


def joined(members: Sequence[Member]) -> dict[str, Any]:
    """The checkpoint of a stack whose members were all begun before.

    Arguments:
        members: with what each goes on from.
    """
    own: list[dict[str, Any]] = []
    for member in members:
        assert member.begun is not None
        own.append(member.begun.checkpoint)
        member.checkpoint = member.begun.best
    first, model = own[0], members[0].model
    names = [name for name, _ in model.named_parameters()]
    buffers = [name for name, _ in model.named_buffers()]
    places = {name: f"stacked.{i}" for i, name in enumerate(names)}
    places |= {name: f"stacked_buffer_{i}" for i, name in enumerate(buffers)}
    # A buffer that is not in a checkpoint is what it was built as.
    of_model = [
        {**dict(m.model.named_buffers()), **c["state_dict"]}
        for m, c in zip(members, own, strict=True)
    ]
    schedules = [c["lr_schedulers"] for c in own]
    known = [(c.get("gathered") or {}).get("known", {}) for c in own]
    return {
        **{k: first[k] for k in ("epoch", "global_step", "pytorch-lightning_version", "loops")},
        "state_dict": {at: filled([t[n] for t in of_model]) for n, at in places.items()},
        "callbacks": {"Keep": {"tensors": {}}},
        "optimizer_states": [{**_optimizer(own), "taken": first["global_step"]}],
        "lr_schedulers": [{"own": [*same]} for same in zip(*schedules, strict=True)],
        "metrics": dict.fromkeys(first["metrics"], 0.0),
        "stack": {
            "known": {name: torch.stack([k[name] for k in known]) for name in known[0]},
            "members": [_member(member, c) for member, c in zip(members, own, strict=True)],
        },
    }


def _member(member: Member, checkpoint: dict[str, Any]) -> dict[str, Any]:
    assert member.begun is not None
    states = checkpoint["callbacks"]
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    return {
        "best": states[BestMetric.__name__],
        "stoppers": [states[s.state_key] for s in member.stoppers if s.state_key in states],
        "rows": member.begun.rows,
        "kept": {},
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in groups],
    }


def _optimizer(checkpoints: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """As `StackedOptimizer.state_dict` has it, from the members' own."""
    own = [checkpoint["optimizer_states"][0] for checkpoint in checkpoints]
    together: dict[int, dict[str, Tensor]] = {}
    for number in {number for state in own for number in state["state"]}:
        kept = [state["state"].get(number, {}) for state in own]
        names = {n: t for one in kept for n, t in one.items() if isinstance(t, Tensor)}
        # SGD without momentum has no buffer; one of zeros is as good.
        together[number] = {
            name: filled(
                [like.new_zeros(()) if one.get(name) is None else one[name] for one in kept]
            )
            for name, like in names.items()
            if name != "step"
        }
    groups = [
        {k: v for k, v in group.items() if k == "params" or k not in (*NUMBERS, *SKIPPED)}
        for group in own[0]["param_groups"]
    ]
    return {"state": together, "param_groups": groups}
