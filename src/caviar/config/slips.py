"""Words of a command line that would be followed without a word, or refused without advice.

    refuse_bare(["mine"])                  # mine: an override is KEY=VALUE; …
    refuse_options(["--lr", "0.1"], …)     # --lr: …; write optimizer.lr=0.1
    refuse_unsearched(["search.seed=1"])   # without -m one model is trained
    refuse_added(config, ["+lr=0.1"])      # nothing reads lr; did you mean optimizer.lr=0.1?

Each raises a UserError that says what to write instead. What Hydra refuses by itself is put into
words in `messages`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caviar.base import project
from caviar.base.errors import UserError
from caviar.config.commands import caviar_command, for_shell, train_command
from caviar.config.meant import meant
from caviar.config.overrides import override_key

if TYPE_CHECKING:
    from omegaconf import DictConfig

SEARCHING = ("search", "space")  # nodes that say how to search, and nothing of a single training
# Of Hydra's options: with these nothing is trained, and the whole config may be looked at.
LOOKING = (
    *("--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help", "--version"),
    *("--shell-completion", "-sc"),
)
SWEEPING = ("-m", "hydra.mode=MULTIRUN")  # and --multirun, which may be cut short
# Single runs that our own commands begin, with all the overrides of the search that they serve.
SERVING = ("trial.number", "check", "panda.run")


def refuse_bare(words: Sequence[str]) -> None:
    """Refuse words that are neither overrides nor options."""
    for number, word in enumerate(words):
        key, equals, value = word.partition("=")
        following = words[number + 1] if number + 1 < len(words) else ""
        follows = bool(following) and "=" not in following.lstrip("=") and following[0] not in "-+~"
        if equals and key and not value and follows:
            raise UserError(f"{word} {following}: write {key}={following}, without a space")
        if equals and not value and override_key(word).startswith("space."):
            raise UserError(
                f"{word} has no scale: a shell has read ${{…}} as a variable of its own; put "
                f"quotes around it: '{key}=${{log:1e-4,1}}'"
            )
        if equals or word.startswith(("-", "~")):
            continue
        if (study := study_named(word)) is not None:
            raise UserError(f"{word}: a study is named by an override; write search.study={study}")
        if follows:
            value = following.lstrip("=")
            raise UserError(
                f"{word} {following}: an override is one word; write {_key(word)}={value}"
            )
        if "." in word and (key := _key(word)):
            raise UserError(f"{word}: an override has a value; write {key}=VALUE")
        raise UserError(
            f"{word} is no override, which is KEY=VALUE, such as optimizer.lr=0.1; a study is "
            f"named by search.study={Path(word).name}"
        )


def refuse_options(words: Sequence[str], known: Collection[str]) -> None:
    """Refuse options that a program does not have: a key of the config is an override.

    Arguments:
        words: of the command line.
        known: the options that it has, with their dashes; `--multi` stands for `--multirun`.
    """
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        name = option.lstrip("-").replace("-", "_")
        if word == "--":
            return
        long = option.startswith("--") and any(o.startswith(option) for o in known)
        short = option in known or (not option.startswith("--") and option[:2] in known)
        if not word.startswith("-") or not name or long or short or _is_number(word):
            continue
        following = words[number + 1] if number + 1 < len(words) else ""
        if not equals and following and "=" not in following and not following.startswith("--"):
            value = following
        names = sorted(o for o in known if o.startswith("--"))
        if close := difflib.get_close_matches(option, names, n=1, cutoff=0.75):
            write = f"did you mean {close[0]}?"
        elif len(name) > 1 and (key := meant(name)):
            write = f"a key of the config is an override: write {key}={value or '…'}"
        else:
            write = f"there are {', '.join(names)}"
        raise UserError(f"{option}: there is no such option; {write}")


def refuse_unsearched(words: Sequence[str]) -> None:
    """Refuse to train one model where the command says how to search."""
    by_agent = "WANDB_SWEEP_ID" in os.environ  # whose runs name their study
    if only_looks(words) or sweeps(words) or by_agent:
        return
    keys = {override_key(word): word for word in words}
    if any(key in keys for key in SERVING):
        return
    for key, word in keys.items():
        if re.split(r"[.@/]", key)[0] in SEARCHING and not word.startswith("-"):
            stage, search = train_command(["-m", *words]), caviar_command("search", None, *words)
            raise UserError(
                f"{word} says how to search, and without -m one model is trained; leave it out, or "
                f"write\n  for one stage: {stage}\n  for a whole search: {search}"
            )


def only_looks(words: Sequence[str]) -> bool:
    """Whether Hydra is to show something, and to run nothing."""
    return any(word.partition("=")[0] in LOOKING for word in words)


def sweeps(words: Sequence[str]) -> bool:
    """Whether a command line says -m, in any of the ways in which Hydra takes it."""
    return any(word in SWEEPING or word.startswith("--m") for word in words)


def refuse_added(config: DictConfig, words: Sequence[str]) -> None:
    """Refuse `+key=value` where nothing reads the key, in a config that the template trains.

    In another application, or where a function trains, any code may read it. `++key=value` adds it
    in any case.
    """
    from hydra.core.hydra_config import HydraConfig

    from caviar.config.reading import unread

    added = {override_key(w): w for w in words if w.startswith("+") and not w.startswith("++")}
    groups = (config.get("hydra") or HydraConfig.get()).runtime.choices
    for key in unread(config, [k for k in added if k not in groups and "/" not in k], True):
        word = added[key]
        value = word.partition("=")[2]
        found = meant(key)
        hint = f"did you mean {for_shell([f'{found}={value}'])}? To" if found else "to"
        keep = for_shell([f"+{word}"])
        raise UserError(f"{word}: nothing reads {key}; {hint} have it in the config, write {keep}")


def study_named(word: str) -> str | None:
    """The study that a word names, by its name or its folder; None if there is none."""
    try:
        runs = project.runs()
    except UserError:
        return None
    path = Path(word)
    for folder in (path, runs / word, runs.parent / word):
        if folder.is_dir() and folder.resolve().parent == runs.resolve():
            return folder.resolve().name
    return None


def _key(name: str) -> str:
    """A key as it was meant: the one of the config, or the word itself."""
    return meant(name) or name


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-[\d.]+(e-?\d+)?", word) is not None
