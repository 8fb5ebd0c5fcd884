"""The config as train.py composes it, with every file that it came from, and without running it.

    compose = project_composer()
    config = compose(["optimizer.lr=0.1", "one_minus.optimizer.momentum=0.02"])
    compose.sources([])            # (file, its content), to name the one at fault

A sweeper is handed Hydra's loader and makes a `Composer` of it; everything else goes through
`project_composer`, the one place that points Hydra at the project's `conf/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate

try:
    from hydra.utils import get_object
except ImportError:  # before Hydra 1.3.2
    from hydra._internal.utils import _locate as get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from caviar.base import project
from caviar.base.errors import UserError
from caviar.config import resolvers
from caviar.config.commands import MAIN, NAME, OPTION, ROOT_CONFIG, SETTING
from caviar.config.overrides import rewrite_one_minus

Source = tuple[str, DictConfig]  # a file, or the command line, and what it says, from the root on
T = TypeVar("T")


class Composer:
    """Composes the project's config for any overrides, by Hydra's own loader.

    Arguments:
        loader: Hydra's config loader.
        name: of the root config.
    """

    def __init__(self, loader: Any, name: str = ROOT_CONFIG) -> None:
        self.loader, self.name = loader, name.removesuffix(".yaml")
        self._sources: dict[tuple[str, ...], list[Source]] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """The config that a run with these overrides has, the `hydra` node included.

        Raises:
            UserError, and what Hydra raises of a slip.
        """
        typed = rewrite_one_minus(overrides)
        # As a job of a sweep: its folder's name is composed, not claimed as a single run's is.
        config: DictConfig = self.loader.load_configuration(self.name, typed, RunMode.MULTIRUN)
        return config

    def reach(self, words: Sequence[str], elsewhere: bool = False) -> tuple[str, ...]:
        """Find config files where these words of a command line say, too.

        The loader itself learns it: so do the jobs that Hydra's launchers compose with it.

        Arguments:
            words: as `caviar.config.commands.sources_of` gives them.
            elsewhere: pass over folders that are not on this machine.

        Returns:
            The words that were followed.

        Raises:
            UserError: a folder is not there.
        """
        path = self.loader.get_search_path()
        known = {element.path for element in path.get_path()}
        followed = []
        for word in words:
            option, _, value = word.partition("=")
            if option == NAME:
                self.name = value
                followed.append(word)
                continue
            named = option in (OPTION, MAIN)
            provider = "command-line" if named else f"{SETTING} in command-line"
            places = [f"file://{value}"] if named else _parsed(word).value()
            gone = [p for p in places if p.startswith("file://") and not Path(p[7:]).is_dir()]
            if gone and not elsewhere:
                raise UserError(
                    f"{word}: there is no such folder here; write {option} and the folder that has "
                    "its config files on this machine"
                )
            for place in places:
                if option == MAIN and not gone:
                    (main,) = (e for e in path.get_path() if e.provider == "main")
                    main.path = place
                elif place not in known and place not in gone:
                    path.prepend(provider, place, SearchPathQuery(provider="schema"))
            followed += [] if gone else [word]
        self.loader.repository.initialize_sources(path)
        self._sources.clear()
        return tuple(followed)

    def is_group(self, key: str) -> bool:
        """Whether a key is a config group, such as `optimizer`, and its values are files."""
        return bool(self.loader.repository.group_exists(key))

    def sources(self, overrides: Sequence[str]) -> list[Source]:
        """Every file that was composed, in merge order, and the command line last."""
        typed = rewrite_one_minus(overrides)
        if (known := self._sources.get(tuple(typed))) is not None:
            return known
        root = project.root()
        sources: list[Source] = []
        for default in self.loader.compute_defaults_list(
            self.name, typed, RunMode.MULTIRUN
        ).defaults:
            # Hydra's own groups, and nodes that plugins have stored, are in no file of the user's.
            if default.config_path is None or str(default.config_path).startswith("hydra/"):
                continue
            loaded = self.loader.repository.load_config(default.config_path)
            if loaded is None or not loaded.path.startswith("file://"):
                continue
            path = Path(loaded.path.removeprefix("file://")) / f"{default.config_path}.yaml"
            name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
            sources.append((name, _rooted(default.package or "", loaded.config)))
        command_line = OmegaConf.create({})
        for override in OverridesParser.create().parse_overrides(typed):
            key = override.key_or_group
            if "." in key and not override.is_delete():
                OmegaConf.update(command_line, key, override.value(), force_add=True)
        found = [*sources, ("command line", command_line)]
        self._sources[tuple(typed)] = found
        return found


def project_composer(words: Sequence[str] = ()) -> Composer:
    """A composer for the project that this process is in, also while Hydra runs in it.

    Arguments:
        words: of a command line, that say where more config files are; see `Composer.reach`.

    Raises:
        UserError: there is no project here.
    """
    from hydra import initialize_config_dir

    project.enter()
    found = project.current()
    resolvers.register()
    state = GlobalHydra.instance()
    # Hydra refuses to be initialised twice; the loader needs none of its state afterwards, but for
    # the version whose behaviour is asked for, which stays as it is set here.
    running, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(str(found.config_dir), version_base="1.3"):
            assert state.hydra is not None
            composer = Composer(state.hydra.config_loader, found.config_name)
            composer.reach(words)
            return composer
    finally:
        GlobalHydra.instance().hydra = running


def read_settings(config: DictConfig, node: str, kind: type[T]) -> T:
    """A node of the config as the dataclass that declares its fields, their types and defaults.

    Raises:
        UserError: a field is unknown, or of another type.
    """
    try:
        plain = OmegaConf.to_container(config[node], resolve=True)
        settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), plain))
    except OmegaConfBaseException as error:
        # OmegaConf names a key from the root on where it is an interpolation's, else from the node.
        key = str(error.full_key).removeprefix(f"{node}.")
        reason, _, _ = str(error).partition("\n")
        raise UserError(f"{node}.{key}: {reason}") from None
    assert isinstance(settings, kind)
    return settings


def build(node: str, config: Any, **arguments: Any) -> Any:
    """`instantiate(config, **arguments)`; `node` is the config key that an error names.

    Raises:
        UserError: the target is unknown, or refuses its arguments.
    """
    try:
        return _instantiated(config, arguments)
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


_targets: dict[str, Any] = {}


def _instantiated(config: Any, arguments: dict[str, Any]) -> Any:
    """`instantiate(config, **arguments)`, by a shorter way where the node is plain.

    Hydra copies, merges and resolves a node in some four milliseconds. That is as long as a small
    model in a stack takes to train, and each builds four nodes.
    """
    plain = _plain(config, arguments)
    if plain is None:
        return instantiate(config, **arguments)
    target = _target(config["_target_"])
    try:
        return target(**plain)
    except InstantiationException:
        raise
    except Exception as error:  # as Hydra does
        raise InstantiationException(repr(error)) from error


def _target(name: str) -> Any:
    """What a `_target_` names, as Hydra hands it out: its rules for targets hold at each call."""
    known = _targets.get(name)
    if known is None or known.func is not get_object(name):  # a module may have been loaded anew
        known = _targets[name] = instantiate({"_target_": name, "_partial_": True})
    return known


def _plain(config: Any, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """What Hydra would call the target with; None where it has more to do than to resolve."""
    given = dict(arguments)
    if given.pop("_convert_", None) != "all":
        return None
    node = config
    if OmegaConf.is_config(config):
        try:
            node = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException:  # Hydra will say it
            return None
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        return None
    own = {key: value for key, value in node.items() if key != "_target_"}
    merged = own.keys() & given.keys() or any(isinstance(v, dict) for v in given.values())
    return None if merged or not _is_plain(own) else {**own, **given}


def _is_plain(value: Any) -> bool:
    """Whether there is nothing in it that Hydra would build, follow or convert."""
    if isinstance(value, dict):
        named = all(isinstance(key, str) and not key.startswith("_") for key in value)
        return named and all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, bool | int | float)


def _parsed(override: str) -> Any:
    return OverridesParser.create().parse_override(override)


def _rooted(package: str, content: DictConfig) -> DictConfig:
    """A group's content at its place in the config: below `optimizer`, say."""
    if package in ("", "_global_"):
        return content
    root = OmegaConf.create({})
    OmegaConf.update(root, package, content, force_add=True)
    return root
