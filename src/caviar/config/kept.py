"""The config that a stage was begun with: what is kept of it, and what has changed since.

    kept = kept_config(config)                        # plain, as the ledger has it
    for change in changes(kept, kept_config(later)):  # an edit of conf/, or another override
        print(change, change.restoring)               # … optimizer.weight_decay=0.0

What shapes a training is kept, and nothing of one machine: two that train alike keep the same.
Interpolations therefore stay as they are written. What they refer to is kept as well, so that a
change is seen once, at its root, and a folder of this machine never. Only what the environment says
is written down, unless that is a path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from caviar.config.keys import OURS, Keys
from caviar.config.overrides import override_value

# How it is searched and watched, and where its files are. A trial has a seed of its own, and what
# is to be tested, and from which checkpoint, is refused in a search.
ASIDE = (
    *("hydra", "search", "space", "panda", "trial", "paths", "logger", "name", "seed"),
    *("fit", "test", "ckpt_path", "check", "trust_checkpoints", "caviar"),
)
# How a machine does it: of `data` and `trainer`, wherever they stand below.
HARMLESS = (
    *("num_workers", "pin_memory", "persistent_workers", "prefetch_factor"),
    *("log_every_n_steps", "enable_progress_bar", "enable_model_summary"),
)
ABSENT = object()


@dataclass(frozen=True)
class Change:
    """One key whose value is another now; `ABSENT` stands for none."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        before, now = (
            "absent" if v is ABSENT else override_value(v) for v in (self.before, self.now)
        )
        return f"{self.key}: {before} then, {now} now"

    @property
    def restoring(self) -> str:
        """The override that puts the old value back."""
        if self.before is ABSENT:
            return f"~{self.key}"
        return f"{'+' if self.now is ABSENT else ''}{self.key}={override_value(self.before)}"


def kept_config(config: DictConfig) -> dict[str, Any]:
    """What shapes a training, as plain containers that JSON takes."""
    plain: Any = OmegaConf.to_container(config, resolve=False)
    nodes = {name: node for name, node in plain.items() if name not in ASIDE}
    for name in Keys.of(config).names():  # which a search sets for each trial
        _drop(nodes, name.split("."))
    # By the name and value that it had in studies of earlier versions.
    if (train := config.caviar.get("train")) is not None:
        nodes["train"] = {"_target_": None if train == OURS else train}
    kept: dict[str, Any] = _kept(nodes, config, "")
    return kept


def _drop(tree: dict[str, Any], path: Sequence[str]) -> None:
    *above, last = path
    for part in above:
        tree = tree.get(part) or {}
    if isinstance(tree, dict):
        tree.pop(last, None)


def _kept(value: Any, config: DictConfig, key: str) -> Any:
    if isinstance(value, Mapping):
        below = f"{key}." if key else ""
        return {str(k): _kept(v, config, f"{below}{k}") for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_kept(v, config, f"{key}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, str) and "${oc.env:" in value:
        try:
            told = OmegaConf.select(config, key)
        except OmegaConfBaseException:  # a variable that is not set
            return value
        # A path may well be another on another machine, and is another name of the same thing.
        is_path = isinstance(told, str) and told.startswith(("/", "~", "."))
        return value if is_path or OmegaConf.is_config(told) else told
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else str(value)


def changes(
    before: Mapping[str, Any], now: Mapping[str, Any], but: Collection[str] = ()
) -> list[Change]:
    """What a training would notice of what differs between two kept configs.

    Arguments:
        before: what was kept.
        now: the same of another config.
        but: keys to pass over, such as those of a trial's setting.
    """
    return [c for c in _changes(before, now, "") if c.key not in but and not _harmless(c.key)]


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *now]):
        key, old, new = f"{prefix}{name}", before.get(name, ABSENT), now.get(name, ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{key}.")
        # By text: 1 is not 1.0 to Lightning, nor to Python True, and NaN is NaN.
        elif repr(old) != repr(new):
            yield Change(key, old, new)


def _harmless(key: str) -> bool:
    node, *below = key.split(".")
    return node in ("data", "trainer") and bool(below) and below[-1] in HARMLESS


def restore(config: DictConfig, changed: Sequence[Change]) -> None:
    """Give the keys of a composed config their old values again."""
    with open_dict(config):
        for change in changed:
            if change.before is not ABSENT:
                value = change.before
                OmegaConf.update(config, change.key, value, merge=False, force_add=True)
                continue
            parent, _, name = change.key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            del node[name]
