"""Makes `- caviar: default` known to every Hydra application, the scales of its spaces, and the
winners of all studies: `python train.py experiment=digits_winner`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from caviar.base import project
from caviar.base.environment import SCRIPT
from caviar.base.errors import UserError
from caviar.base.scripts import tunes
from caviar.config import resolvers

CONF = "pkg://caviar.conf"


class CaviarSearchPath(SearchPathPlugin):
    """Appends Caviar's own groups and every `runs/<study>/conf/`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("caviar", CONF)
        # Before anything is composed, and behind what the application registers when it is loaded.
        resolvers.register()
        _note_application(search_path)
        try:
            folders = sorted(project.runs().glob("*/conf"))
        except UserError:
            return  # an application that lies in no project
        for folder in folders:
            search_path.append("caviar", f"file://{folder.resolve()}")


def _note_application(search_path: ConfigSearchPath) -> None:
    """Remember which script and which config folder this process runs, if it is an application."""
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    paths = [e.path for e in search_path.get_path() if e.provider == "main"]
    if not script or not paths or paths[0].startswith("pkg://"):
        return
    project.runs_here(Path(script).resolve(), Path(paths[0].removeprefix("file://")).resolve())
    if os.environ.get(SCRIPT) == str(Path(script).resolve()):
        _refuse_unsearched()


def _refuse_unsearched() -> None:
    """Leave with one message where the words of a script that is not ours say how to search, and
    not to do it: it would train one model as if they were not there."""
    from caviar.config.messages import clear_errors
    from caviar.config.slips import refuse_unsearched

    with clear_errors():
        found = project.current()
        if found.theirs and tunes(found):
            refuse_unsearched(sys.argv[1:])
