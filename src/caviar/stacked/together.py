"""The members of a stack and what is theirs: their tensors, state, what runs between steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from caviar.stacked.calls import Stack, parts
from caviar.stacked.draws import Draws, PerMember
from caviar.stacked.errors import NotStackable
from caviar.stacked.logged import Collected, Log
from caviar.stacked.members import BETWEEN, Member, MemberTrainer, refuse_unstackable
from caviar.stacked.stand_in import stand_in
from caviar.stacked.state import Kept, State, emptied, plain_of, put, stacked, state_of
from caviar.stacked.widths import Widths, filled
from caviar.training.package import is_inherited
from caviar.training.streams import restore, stream

if TYPE_CHECKING:
    LightningModule = pl.LightningModule
else:
    LightningModule = object  # of whichever package the members come from


class Together(LightningModule):
    """Models of one shape, with an axis of members in front of every tensor.

    Arguments:
        members: at least one.
        trainer: that will fit it.
    """

    # Not among this module's parts, and not for Lightning: its own tensors are never used.
    template: Any
    stack: Stack

    def __init__(self, members: Sequence[Member], trainer: pl.Trainer) -> None:
        super().__init__()
        models = [member.model for member in members]
        refuse_unstackable(models[0])
        self.members = list(members)
        self.known: dict[str, Tensor] = {}  # callback_metrics, by member
        self.proxies = [MemberTrainer(trainer, member, self.known) for member in members]
        for place, (member, proxy) in enumerate(zip(members, self.proxies, strict=True)):
            proxy.place = place
            member.model.trainer = proxy  # type: ignore[assignment]
            restore(member.random)
            for hook in ("setup", "configure_model"):
                if not is_inherited(member.model, hook):
                    getattr(member.model, hook)(*(["fit"] if hook == "setup" else []))
        self.draws = Draws(self._random_state)
        template = copy.deepcopy(models[0])
        stand_in(template, models)
        template.trainer = trainer
        vars(self)["stack"] = Stack(template, self.draws)
        vars(self)["template"] = template
        self.widths = Widths(models)
        self.draws.uneven = self.widths.uneven
        own = [dict(m.named_parameters()) for m in models]
        self.names = [*own[0]]
        self.stacked = nn.ParameterList(
            nn.Parameter(
                filled([tensors[n].detach() for tensors in own]),
                requires_grad=own[0][n].requires_grad,
            )
            for n in self.names
        )
        buffers = [dict(m.named_buffers()) for m in models]
        self.buffer_names = [*buffers[0]]
        for i, name in enumerate(self.buffer_names):
            together = filled([tensors[name].detach() for tensors in buffers])
            self.register_buffer(f"stacked_buffer_{i}", together)
        self.state: State = stacked([state_of(model) for model in models])
        self.training_logs, self.validation_logs = Collected(), Collected()
        self.monitors: set[str] = set()  # that schedules follow
        self.one_by_one = False  # validation, of a model whose validation cannot be stacked
        # Of members of several widths: what they compute alone, until it was compared; zeros where
        # they were filled up; whether a validation was compared.
        self.probes: list[Any] | None = None
        self.masks: list[Tensor | None] | None = None
        self.validated = False
        self.hooks = {name for name in BETWEEN if not is_inherited(models[0], name)}
        self.has_metrics = any(isinstance(part, Metric) for part in template.modules())
        self.plain = plain_of(template)
        self.point_members()

    # -- members and their tensors

    def buffers_of_all(self) -> dict[str, Tensor]:
        """Buffers by the members' own names."""
        return {n: getattr(self, f"stacked_buffer_{i}") for i, n in enumerate(self.buffer_names)}

    def parameters_of_all(self) -> dict[str, Tensor]:
        """Parameters by the members' own names."""
        return parts(self.names, list(self.stacked))

    @torch.no_grad()
    def point_members(self) -> None:
        """Let every member's own tensors be its part of the stacked ones."""
        for place, member in enumerate(self.members):
            own = dict(member.model.named_parameters())
            for name, tensor in self.parameters_of_all().items():
                own[name].data = self.widths.own(name, place, tensor.data)
            buffers = dict(member.model.named_buffers())
            for name, tensor in self.buffers_of_all().items():
                buffers[name].data = self.widths.own(name, place, tensor.data)

    def keep(self, alive: Sequence[int]) -> None:
        """Go on with these members alone: the others cost nothing from now on.

        Arguments:
            alive: their places in the stack, in order.
        """
        index = torch.tensor(alive, device=self.device)
        self.widths.keep(alive)
        self.draws.uneven = self.widths.uneven
        for name, p in zip(self.names, self.stacked, strict=True):
            p.data, p.grad = self.widths.fitted(name, p.data[index]), None
        for i, name in enumerate(self.buffer_names):
            together = getattr(self, f"stacked_buffer_{i}")[index]
            setattr(self, f"stacked_buffer_{i}", self.widths.fitted(name, together))
        for kept in self.state.values():
            kept.tensors = [tensor[index] for tensor in kept.tensors]
        for logs in (self.training_logs, self.validation_logs):
            logs.keep(index)
        for name, values in self.known.items():
            self.known[name] = values[index]
        for part in self.template.modules():
            if isinstance(vars(part).get("p"), PerMember):
                part.p = part.p.kept(alive)
        self.draws.keep(alive)
        optimizer: Any = self.trainer.optimizers[0]
        optimizer.keep(alive, index)
        for config in self.trainer.lr_scheduler_configs:
            config.scheduler.keep(alive)  # type: ignore[union-attr]
        self.members = [self.members[i] for i in alive]
        self.proxies = [self.proxies[i] for i in alive]
        for place, proxy in enumerate(self.proxies):
            proxy.place = place
        self.point_members()

    def loaded(self, place: int) -> pl.LightningModule:
        """A member's own module, with its torchmetrics as they are now, if it has any."""
        model = self.members[place].model
        if self.has_metrics:
            put(model, {n: k.value([t[place] for t in k.tensors]) for n, k in self.state.items()})
        return model

    def _random_state(self, place: int) -> Tensor:
        """With which a member's steps begin in this epoch."""
        with stream([self.members[place].seed, self.current_epoch, 0]):
            return torch.get_rng_state()

    # -- what runs between steps

    def between(self, hook: str, logs: Collected) -> None:
        """Run a hook of every member, one after the other."""
        if hook not in self.hooks:
            return
        if getattr(type(self.template), hook).__module__.startswith("caviar."):
            # Caviar's own do arithmetic alone, which can be done for all at once. One's own may
            # write a file, say, for each.
            with torch.no_grad():
                parameters, buffers = self.parameters_of_all(), self.buffers_of_all()
                done = self.stack.step(hook, parameters, buffers, self.state)
            self.stack.settle()
            self.state = done.state
            logs.add(done.calls, done.values)
            return
        log = Log(self.members[0].model, hook)
        self._each(lambda place, member: getattr(member.model, hook)(), log, logs)

    def _each(self, run: Callable[[int, Member], None], log: Log, logs: Collected) -> None:
        """Run something for every member, in its own module, with its own state."""
        calls, columns, states, plain = None, [], [], []
        before: dict[str, Any] = {}
        models = [member.model for member in self.members]
        now = plain_of(self.template)
        changed = {path: v for path, v in now.items() if self.plain.get(path, Ellipsis) != v}
        for place, model in enumerate(models):
            put(model, changed)
            emptied(model, [path for path in state_of(model) if path not in self.state])
            put(model, {n: k.value([t[place] for t in k.tensors]) for n, k in self.state.items()})
            if place == 0:
                before = plain_of(model)
            log.module, log.calls = model, []
            vars(model)["log"] = log
            try:
                run(place, self.members[place])
            finally:
                del vars(model)["log"]
            if calls is None:
                calls = log.calls
            if [c.name for c in log.calls] != [c.name for c in calls]:
                raise NotStackable(f"{log.hook} does not log the same for all members")
            columns.append([c.value for c in log.calls if c.metric is None])
            states.append(state_of(model))
            plain.append(plain_of(model))
        gone = self.state.keys() - states[0].keys()
        self.state = stacked(states)
        emptied(self.template, gone)
        # What the hook has set, and not what stands for all differs in from the start.
        shared = {p: v for p, v in plain[0].items() if p in now and v != before.get(p)}
        if any(other.get(p) != v for p, v in shared.items() for other in plain):
            raise NotStackable(f"{log.hook} leaves the members with different attributes")
        put(self.template, shared)
        self.plain = plain_of(self.template)
        assert calls is not None
        values = iter(
            [torch.stack([torch.as_tensor(v) for v in same]) for same in zip(*columns, strict=True)]
        )
        logs.add(calls, [None if c.metric is not None else next(values) for c in calls])

    def close(self, logs: Collected) -> dict[str, Tensor]:
        """What a stage has logged over the epoch, also as `known`; metrics are computed and reset.

        Returns:
            What loggers are to be told, by name.
        """
        values = logs.of_epoch()
        computed = logs.metrics()
        if computed:
            found: dict[str, list[Tensor]] = {name: [] for name in computed}

            def one(place: int, member: Member) -> None:
                parts: dict[Any, Any] = dict(member.model.named_modules())
                for name, call in computed.items():
                    found[name].append(parts[call.metric].compute().detach())
                for path in {call.metric for call in computed.values()}:
                    parts[path].reset()

            self._each(one, Log(self.members[0].model, "on_validation_epoch_end"), Collected())
            values |= {name: torch.stack(column) for name, column in found.items()}
        told = {}
        for name, column in values.items():
            call = logs.entries[name].call
            if call.on_step and call.metric is None:
                self.known[f"{name}_epoch"] = column
            self.known[name] = column
            if call.logger:
                told[f"{name}_epoch" if call.on_step and call.metric is None else name] = column
        logs.entries.clear()
        return told

    def write_rows(self, values: dict[str, Tensor], step: int) -> None:
        """A row of every member's metrics.csv."""
        if not values:
            return
        columns = {name: column.tolist() for name, column in values.items()}
        epoch = self.current_epoch
        for place, member in enumerate(self.members):
            row = {name: column[place] for name, column in columns.items()}
            member.rows.append({**row, "epoch": epoch, "step": step})

    # -- a checkpoint of the whole stack

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What Lightning does not know of: what members keep, and what is known of them."""
        checkpoint["metrics"] = dict.fromkeys(self.monitors, 0.0)  # for `ResumedSchedule`
        checkpoint["stack"] = {
            "state": {path: kept.value(kept.tensors) for path, kept in self.state.items()},
            "plain": plain_of(self.template),
            "known": dict(self.known),
            "members": [
                {
                    "best": member.best.state_dict(),
                    "stoppers": [stopper.state_dict() for stopper in member.stoppers],
                    "rows": member.rows,
                    "kept": member.kept,
                    "groups": [_settings(g) for g in member.optimizer.param_groups],
                }
                for member in self.members
            ],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint["stack"]
        if "state" in kept:  # not where it was put together from checkpoints of runs alone
            self.state = {}
            for path, value in kept["state"].items():
                found = Kept.of(value)
                assert found is not None
                self.state[path] = found
            put(self.template, kept["plain"])
        self.known.update(kept["known"])
        for member, own in zip(self.members, kept["members"], strict=True):
            member.best.load_state_dict(own["best"])
            for stopper, state in zip(member.stoppers, own.get("stoppers", ()), strict=False):
                stopper.load_state_dict(state)
            member.rows, member.kept = own["rows"], own["kept"]
            vars(member)["groups"] = own["groups"]

    def restore_settings(self) -> None:
        """Give the members' optimizers the settings that their schedules had come to."""
        for member in self.members:
            groups = vars(member).pop("groups", None)
            for group, own in zip(member.optimizer.param_groups, groups or (), strict=False):
                group.update(own)


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}
