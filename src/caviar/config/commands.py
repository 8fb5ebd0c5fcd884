"""Every command that we print, and where a command finds config files beside conf/.

    train_command(["optimizer.lr=0.1"])      # python train.py optimizer.lr=0.1
    caviar_command("refine", "mine")         # caviar refine search.study=mine
    sources_of(config)                       # ("--config-dir=/home/me/more",)

A printed command runs as it stands: quoted for Hydra and for a shell, from the present folder, and
with the folders of config files that this command was given.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caviar.base import project
from caviar.base.environment import ROOT
from caviar.base.errors import UserError
from caviar.config.lazy_help import accept_lazy_help
from caviar.config.overrides import override_value, rewrite_one_minus

if TYPE_CHECKING:  # a run that W&B's agent starts imports this before it has looked around
    from argparse import Action

    from omegaconf import DictConfig

# Words of a command line that say where Hydra looks for config files: some of its options, and one
# of its settings. They are kept and handed on with absolute paths.
OPTION, SETTING = "--config-dir", "hydra.searchpath"
NAME, MAIN = "--config-name", "--config-path"  # of a root config beside conf/train.yaml
ROOT_CONFIG = "train"
_LIVE = re.compile(r'["$`\\!]')  # what a shell reads inside of double quotes


def train_command(
    overrides: Iterable[str],
    sources: Sequence[str] = (),
    at: Path | None = None,
    runner: bool = False,
) -> str:
    """`python train.py …` for a shell.

    Arguments:
        overrides: Hydra overrides, and `-m`.
        sources: what finds their config files.
        at: the folder that it will be run in; by default the present one.
        runner: a function trains (`caviar.train`), which a script that is not ours does not know.
    """
    here, words = at or Path.cwd(), list(overrides)
    script = Path("train.py")
    if (found := _project()) is not None:
        script = (
            found.script.relative_to(here) if found.script.is_relative_to(here) else found.script
        )
        if found.theirs:  # which knows of no search coordinates
            words = rewrite_one_minus(words)
    by = ["-m", "caviar.run"] if runner and found is not None and found.theirs else []
    return for_shell(["python", *by, str(script), *sources, *words])


def caviar_command(verb: str, study: str | None = None, *overrides: str) -> str:
    """`caviar VERB search.study=…` for a shell.

    Arguments:
        verb: such as `refine`, or `panda start`.
        study: the study's name, if the verb needs one.
        overrides: more of Hydra's.
    """
    here, known = Path.cwd(), _project()
    root = None if known is None else known.root
    found = root is None or root in (here, *here.parents)
    place = "" if found else f"{ROOT}={shlex.quote(str(root))} "
    named = [] if study is None else [set_to("search.study", study)]
    return place + for_shell(["caviar", *verb.split(), *named, *overrides])


def for_shell(words: Iterable[str]) -> str:
    """Words of a command, quoted: by double quotes around what Hydra wants in single ones."""
    return " ".join(
        f'"{word}"' if "'" in word and not _LIVE.search(word) else shlex.quote(word)
        for word in words
    )


def set_to(key: str, value: Any) -> str:
    """The override that gives a key this value; a path is written as it is shown."""
    return f"{key}={override_value(str(value) if isinstance(value, Path) else value)}"


def stage_command(study: str, sweep: Path) -> str:
    """What runs a stage's sweep file, which itself says where its config files are."""
    shown = sweep.relative_to(Path.cwd()) if sweep.is_relative_to(Path.cwd()) else sweep
    return train_command(["-m", set_to("search.study", study), set_to("search.sweep", shown)])


def sources_of(config: DictConfig) -> tuple[str, ...]:
    """The words of its command line with which a config was found, beside conf/."""
    name, known = config.hydra.job.config_name, _project()
    usual = ROOT_CONFIG if known is None else known.config_name
    found: list[str] = (
        [] if name is None or name.removesuffix(".yaml") == usual else [f"{NAME}={name}"]
    )
    folders: list[str] = []
    for source in config.hydra.runtime.config_sources:
        path = os.path.abspath(source.path) if source.schema == "file" else source.path
        if source.provider == "command-line":
            found.append(f"{OPTION}={path}")
        elif source.provider == "main" and known is not None and path != str(known.config_dir):
            found.append(f"{MAIN}={path}")
        elif source.provider == f"{SETTING} in command-line":
            folders.append(f"{source.schema}://{path}")
    if folders:
        found.append(f"{SETTING}={override_value(folders)}")
    return tuple(dict.fromkeys(found))


def split_sources(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """The words that say where config files are, and the others.

    Raises:
        UserError: an option has nothing behind it.
    """
    sources: list[str] = []
    others: list[str] = []
    given, options = iter(words), {"-cd": OPTION, "-cn": NAME, "-cp": MAIN}
    for word in given:
        option = options.get(word, word)
        if option in options.values():
            value = next(given, None)
            if value is None:
                raise UserError(f"{word} needs a folder or a name behind it")
            word = f"{option}={value}"
        begins = tuple(f"{name}=" for name in (*options.values(), SETTING))
        (sources if word.startswith(begins) else others).append(word)
    return sources, others


def options_first(words: Sequence[str]) -> list[str]:
    """A command line's words in the order that Hydra takes: `a=1 -m b=2` it refuses, and whoever
    appends an override to a command, as Lightning does for its ranks, would make one of it."""
    options, overrides = split_options(words)
    return [*options, *overrides]


def split_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's options, each with the word that it takes, and the overrides."""
    takes = hydra_options()
    options: list[str] = []
    overrides: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        (options if word.startswith("-") else overrides).append(word)
        action = takes.get(word)
        if action is None or action.nargs == 0 or not left:
            continue
        if action.nargs is None or left[0] in (action.choices or ()):
            options.append(left.pop(0))
    return options, overrides


def hydra_options() -> dict[str, Action]:
    """What Hydra's command line knows, by name: `-m`, `--multirun`, …"""
    from hydra._internal.utils import get_args_parser

    accept_lazy_help()
    return {name: a for a in get_args_parser()._actions for name in a.option_strings}


def _project() -> project.Project | None:
    try:
        return project.current()
    except UserError:  # a command that needs none
        return None
