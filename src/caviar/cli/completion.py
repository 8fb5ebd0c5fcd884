"""Tab completion of `caviar`: verbs, options, studies, groups and keys of the config.

    caviar --install-completion          # for the shell of $SHELL; bash, zsh or fish may be named
    _CAVIAR_COMPLETE="caviar report search.st" caviar     # what a shell asks at each tab

Typer has a completion of its own, which takes `search.study=m` for three words, as bash does.
Nothing here imports torch.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caviar.base import project
from caviar.base.errors import UserError

VARIABLE = "_CAVIAR_COMPLETE"  # the command line up to the cursor
# Every answer is a whole word, with a space behind it where it is complete. bash cuts words at `=`
# and `:`, so what is in front of the last of them is taken off again.
BASH = """\
_caviar() {
  local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" cut
  local word="${line##* }"
  COMPREPLY=($(_CAVIAR_COMPLETE="$line" caviar 2>/dev/null))
  cut="${word%"${word##*[=:]}"}"
  COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}
complete -o nospace -o bashdefault -o default -F _caviar caviar
"""
ZSH = """\
#compdef caviar
_caviar() {
  local -a found
  found=("${(@f)$(_CAVIAR_COMPLETE="$LBUFFER" caviar 2>/dev/null)}")
  (( $#found )) && [[ -n "$found[1]" ]] && compadd -Q -S '' -a found || _files
}
if [ "$funcstack[1]" = "_caviar" ]; then _caviar "$@"; else compdef _caviar caviar; fi
"""
FISH = """\
complete -c caviar -f -a '(_CAVIAR_COMPLETE=(commandline -cp) caviar 2>/dev/null | string trim)'
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def install(shell: str) -> None:
    """Write what completes into the user's folder for that shell, and say what is left to do.

    Raises:
        UserError: it is another shell.
    """
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    places = {
        "bash": data / "bash-completion/completions/caviar",
        "zsh": data / "zsh/site-functions/_caviar",
        "fish": config / "fish/completions/caviar.fish",
    }
    if shell not in places:
        raise UserError(f"--install-completion {shell}: write one of {', '.join(places)}")
    path = places[shell]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SHELLS[shell], encoding="utf-8")
    file = shlex.quote(str(path))
    print(f"written: {path}")
    if shell == "fish":
        print("a new shell completes caviar")
    elif shell == "zsh":
        print("write into ~/.zshrc, behind compinit, unless it is there already:")
        print(f"  source {file}")
    else:
        print("a new shell completes caviar, where bash-completion is installed; else write into")
        print(f"~/.bashrc:\n  source {file}")


def answer(command: Any, line: str) -> list[str]:
    """The words that the last one of a command line may become.

    Arguments:
        command: the whole of `caviar`, as Click's.
        line: up to the cursor.
    """
    *before, word = line.split(" ")
    words = [w for w in before[1:] if w]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if word.startswith("-"):
        found = [f"{o} " for p in command.params for o in p.opts] + ["--help "]
    elif hasattr(command, "commands"):
        found = [f"{name} " for name in command.commands]
    else:
        found = list(_overrides(word, words))
    return sorted({f for f in found if f.startswith(word)})


def _overrides(word: str, given: list[str]) -> Iterator[str]:
    """What an override may go on with: the next part of its key, or its value."""
    key, equals, _ = word.partition("=")
    if key == "search.study" and equals:
        runs = project.runs()
        folders = sorted(runs.iterdir()) if runs.is_dir() else []
        yield from (f"{key}={f.name} " for f in folders if (f / "conf").exists() or _is_study(f))
        return
    sign = word[: len(word) - len(word.lstrip("+~"))]
    conf = project.current().config_dir
    group = conf / key.lstrip("+~")
    if equals:
        yield from (f"{key}={f.stem} " for f in group.glob("*.yaml") if key.lstrip("+~"))
        if key == "experiment":
            yield from (f"{key}={f.stem} " for f in project.runs().glob("*/conf/experiment/*.yaml"))
        yield from (f"{key}={value} " for value in _values(key.lstrip("+~"), given))
        return
    groups = [f.name for f in conf.iterdir() if f.is_dir() and any(f.glob("*.yaml"))]
    yield from (f"{sign}{name}=" for name in groups)
    for path in _keys(given):
        stem = word.lstrip("+~")
        if path.startswith(stem):
            following, dot, _ = path[len(stem) :].partition(".")
            yield f"{sign}{stem}{following}{'.' if dot else '='}"


def _keys(given: list[str]) -> list[str]:
    """Every key of the config that has a value."""
    from caviar.space.lint import flatten

    tree = _tree(given)
    names = [name for name in tree if name not in ("hydra", "trial", "paths")]
    leaves = dict(flatten({name: tree[name] for name in names}))
    return [path for path in leaves if not path.rpartition(".")[2].startswith("_")]


def _values(key: str, given: list[str]) -> list[str]:
    node: Any = _tree(given)
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return ["true", "false"] if isinstance(node, bool) else []


def _tree(given: list[str]) -> dict[str, Any]:
    """The config with the groups that are chosen so far, as plain containers."""
    from omegaconf import OmegaConf

    from caviar.config.compose import project_composer

    conf = project.current().config_dir
    chosen = [w for w in given if "=" in w and (conf / w.partition("=")[0]).is_dir()]
    tree: Any = OmegaConf.to_container(project_composer()(chosen), resolve=False)
    return tree


def _is_study(folder: Path) -> bool:
    from caviar.ledger import known_storage

    return folder.is_dir() and known_storage(folder) is not None
