"""Somebody's W&B sweep, brought into a project as a space that was checked against its config.

    brought = bring(Theirs.read(Path("theirs.yaml")), "theirs", {"lr": "model.optimizer.lr"})
    brought.text                 # configs/space/theirs.yaml
    brought.shown()              # what was changed and why, what is lost, what to do next

Nothing is written before the config was composed with it and `lint` has seen it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from caviar.base import project
from caviar.base.errors import UserError
from caviar.config.commands import OPTION, caviar_command
from caviar.config.compose import Composer, project_composer
from caviar.config.keys import USUAL, Keys, metric_of
from caviar.config.overrides import joined, override_value
from caviar.search.checks import plain_config
from caviar.space import Space, SpaceError, lint
from caviar.space.appropriate import appropriate
from caviar.space.lint import flatten
from caviar.space.matching import match
from caviar.space.space_file import Entry, resolver, space_text
from caviar.space.theirs import Parameter
from caviar.wandb.theirs import Theirs

OWN_SEEDS = (
    "every trial of a search has a seed of its own, and confirm trains the best few again with "
    "fresh ones"
)


@dataclass(frozen=True)
class Brought:
    """A space, and all that is to be said of it."""

    name: str
    text: str
    """Of its file."""
    axes: list[str]
    """Of each what it is, what it was, and why."""
    fixed: list[str]
    """Overrides of Hydra, for what had one value."""
    left: list[str]
    """What is not carried over."""
    warnings: list[str] = field(default_factory=list)
    """What `lint` says of the space over the config."""
    lines: list[str] = field(default_factory=list)
    """What the root config lacks."""
    commands: list[tuple[str, str]] = field(default_factory=list)
    """What searches it, on W&B and here."""

    def shown(self) -> Iterator[str]:
        """What a person reads, the command that searches it last."""
        yield from self.axes
        for title, what in (
            ("fixed, so on the command line", self.fixed),
            ("not carried over", self.left),
            ("warning", self.warnings),
            ("the root config lacks", self.lines),
        ):
            if what:
                yield f"{title}:"
                yield from (f"  {line}" for line in what)
        for where, command in self.commands:
            yield f"{where}: {command}"


def bring(
    theirs: Theirs,
    name: str,
    keys: Mapping[str, str] | None = None,
    sources: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Brought:
    """The space that their sweep becomes.

    Arguments:
        theirs: the sweep.
        name: of the space, and of the study in the commands.
        keys: of the config, by the names that theirs have for them; others are looked for.
        sources: words of a command line that say where config files are.
        overrides: Hydra's, with which the config is composed.

    Raises:
        UserError: there is no project here; a parameter is no key of its config, or cannot be.
    """
    words = joined(theirs.words, overrides)
    compose = project_composer(sources)
    config = compose(words)
    bringing = _Bringing(theirs, compose, config, dict(keys or {}))
    with _named(theirs):
        entries = [e for p in theirs.parameters if (e := bringing.entry(p)) is not None]
        for fixed in theirs.fixed:
            bringing.fix(fixed.name, fixed.value)
    bringing.all_keys_used()
    bringing.left += [f"{left.name}: {left.reason}" for left in theirs.left]
    if not entries:
        raise UserError(
            f"{theirs.path}: no parameter is left that a space could search: "
            f"{'; '.join(bringing.left) or 'all have one value'}"
        )
    study = joined(theirs.words, bringing.fixed, overrides)
    head = [
        f"From the W&B sweep file {theirs.path.name}: "
        f"{caviar_command('search', name, f'space={name}', *study)}"
    ]
    with _named(theirs):
        text = space_text(entries, head)
    chosen, warnings = _checked(theirs, text, name, sources, words)
    lines = _lacking(config, theirs, name)
    if lines:
        chosen = f"space={name}"  # which its defaults have by then
    asked = [chosen, *study, *sources]
    places = [f"--{k}={v}" for k in ("project", "entity") if (v := getattr(theirs, k))]
    commands = [
        ("on W&B", caviar_command("sweep", name, *asked, *places)),
        ("search it", caviar_command("search", name, *asked)),
    ]
    left = [*theirs.otherwise, *bringing.left]
    return Brought(name, text, bringing.axes, bringing.fixed, left, warnings, lines, commands)


class _Bringing:
    """One parameter after the other: its key, its scale, and what is said of them."""

    def __init__(
        self, theirs: Theirs, compose: Composer, config: DictConfig, keys: dict[str, str]
    ) -> None:
        self.theirs, self.compose, self.keys = theirs, compose, keys
        plain = {k: v for k, v in plain_config(config).items() if k not in ("caviar", "trial")}
        self.defaults = dict(flatten(plain))
        self.seed = USUAL["seed"]
        with suppress(UserError):  # it has no caviar node yet
            self.seed = Keys.of(config).seed
        self.axes: list[str] = []
        self.fixed: list[str] = []
        self.left: list[str] = []
        self._known: dict[str, str] = {}  # names by key

    def entry(self, parameter: Parameter) -> Entry | None:
        """The axis that a parameter becomes; None for one that no space can have."""
        name = parameter.name.removeprefix("one_minus.")
        if self._is_seed(name):
            self.left.append(f"{name}: {OWN_SEEDS}")
            return None
        if (group := self._group(name)) is not None:
            self.left.append(
                f"{name}: the choices of a config group are no axis; search with each of them by "
                f"itself, as in {group}=NAME"
            )
            return None
        key = self._key(name)
        default = self.defaults.get(key)
        proposal = appropriate(key, parameter.scale, default, parameter.guessed)
        was = f"{parameter.was}" if name == key else f"{name}, {parameter.was}"
        now = [f"now {proposal.scale.kind}: {proposal.because}"] if proposal.because else []
        comments = ["; ".join([was, *now]), *parameter.notes]
        comments += [proposal.instead] if proposal.instead else []
        self.axes += [f"{key}: {resolver(proposal.scale)}", *(f"  {line}" for line in comments)]
        return Entry(key, proposal.scale, comments)

    def fix(self, name: str, value: Any) -> None:
        """One that has a single value is a word of the command."""
        if self._is_seed(name):
            self.fixed.append(f"search.seed={override_value(value)}")
            return
        key = self._group(name) or self._key(name)
        self.fixed.append(f"{key}={override_value(value)}")

    def all_keys_used(self) -> None:
        """Refuse a --key that names nothing."""
        if unused := sorted({*self.keys} - {*self._known.values()}):
            raise UserError(
                f"--key {unused[0]}=…: {self.theirs.path} has no parameter of that name, or needs "
                "no key for it"
            )

    def _is_seed(self, name: str) -> bool:
        return name in (self.seed, "seed", "random_seed") and name not in self.keys

    def _group(self, name: str) -> str | None:
        """The config group that a name is, with slashes."""
        if name in self.keys or name.replace("/", ".") in self.defaults:
            return None
        group = name.replace(".", "/")
        return group if self.compose.is_group(group) else None

    def _key(self, name: str) -> str:
        key = self.keys.get(name) or match(name, self.defaults)
        if key not in self.defaults:
            raise SpaceError(name, f"--key {name}={key}: the config has no key {key}")
        if key in self._known:
            raise SpaceError(name, f"it would be {key}, as {self._known[key]} is already")
        self._known[key] = name
        return key


@contextmanager
def _named(theirs: Theirs) -> Iterator[None]:
    """Name their file and the parameter in front of what is wrong with it."""
    try:
        yield
    except SpaceError as error:
        raise UserError(f"{theirs.path}: parameters.{error.key}: {error.message}") from None


def _checked(
    theirs: Theirs, text: str, name: str, sources: Sequence[str], words: Sequence[str]
) -> tuple[str, list[str]]:
    """Compose the space with the config as a search will, before it is written.

    Returns:
        The override that chooses it, and what lint warns of.

    Raises:
        UserError: the config cannot have such an axis.
    """
    tried = "brought_from_wandb"  # a file of the project's own would come before this one
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "space", f"{tried}.yaml")
        place.parent.mkdir()
        place.write_text(text, encoding="utf-8")
        compose = project_composer([*sources, f"{OPTION}={folder}"])
        chosen = "space"
        try:
            config = compose([*words, f"{chosen}={tried}"])
        except ConfigCompositionException:  # it is not in the defaults of the root config
            chosen = "+space"
            config = compose([*words, f"{chosen}={tried}"])
    tree: Any = OmegaConf.to_container(config.space, resolve=True)
    problems = lint(Space.parse(tree), plain_config(config))
    for problem in problems:
        if problem.fatal:
            raise UserError(f"{theirs.path}: {problem.key}: {problem.message}")
    return f"{chosen}={name}", [f"{problem.key}: {problem.message}" for problem in problems]


def _lacking(config: DictConfig, theirs: Theirs, name: str) -> list[str]:
    """What is to be written into the root config before anything is searched."""
    lines = []
    if config.get("caviar") is None and "search" not in config:
        lines += [
            "defaults:   # these two behind `- hydra: …`, if there is one",
            "  - caviar: default",
            f"  - space: {name}",
        ]
    declared = None
    with suppress(UserError):
        declared = metric_of(config)
    metric = theirs.metric
    if metric is None and declared is None:
        lines += ["caviar:", "  metric: { name: …, mode: … }   # what is best; the file says none"]
    elif metric is not None and metric != declared:
        but = f"   # it has {declared.name}, {declared.mode}" if declared else ""
        lines += ["caviar:", f"  metric: {{ name: {metric.name}, mode: {metric.mode} }}{but}"]
    if lines:
        lines.insert(0, f"# {project.current().config_file.name}")
    return lines
