"""Which key of the config a misspelt one may mean.

meant("lr")                # optimizer.lr: a key's last part
meant("model.widht")       # model.width: the spelling
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from typing import Any

from caviar.base import project
from caviar.base.errors import UserError

INTERNAL = ("hydra", "trial")  # nodes that nobody writes by hand


def meant(key: str) -> str:
    """The key most like it in the config as its groups were chosen; empty if none is.

    A key that is one word is first of all the last part of one: of several the one nearest to the
    root.
    """
    keys = list(_config_keys())
    if "." in key:
        return next(iter(difflib.get_close_matches(key, keys, n=1)), "")
    last: dict[str, str] = {}
    # What a search draws or decides has names of its own below `space` and `search.stages`.
    for path in sorted(keys, key=lambda path: (path.startswith("space."), path.count("."))):
        last.setdefault(path.rpartition(".")[2], path)
    if key in last:
        return last[key]
    close = difflib.get_close_matches(key, keys, n=1) or difflib.get_close_matches(key, last, n=1)
    return last.get(close[0], close[0]) if close else ""


def _config_keys() -> Iterator[str]:
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError

    from caviar.config.compose import project_composer

    try:
        conf = project.current().config_dir
        chosen = re.compile(r"(\w+)=[\w/]+")
        groups = [a for a in sys.argv if (m := chosen.fullmatch(a)) and (conf / m[1]).is_dir()]
        config = project_composer()(groups)
    # What they chose is the slip; then there is nothing to compare with.
    except (UserError, HydraException, OmegaConfBaseException, MarkedYAMLError):
        return
    tree: Any = OmegaConf.to_container(config, resolve=False)
    yield from _keys({name: node for name, node in tree.items() if name not in INTERNAL})


def _keys(tree: object, prefix: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for name, node in tree.items():
            if not str(name).startswith("_"):
                yield f"{prefix}{name}"
                yield from _keys(node, f"{prefix}{name}.")
