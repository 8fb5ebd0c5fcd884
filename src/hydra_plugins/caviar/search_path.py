"""Makes the winners of all studies known: `python train.py experiment=digits_winner`."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from caviar.base import project
from caviar.base.errors import UserError


class WinnersSearchPath(SearchPathPlugin):
    """Appends every `runs/<study>/conf/`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        try:
            folders = sorted(project.runs().glob("*/conf"))
        except UserError:
            return  # another Hydra application, which has no conf/train.yaml
        for folder in folders:
            search_path.append("caviar", f"file://{folder.resolve()}")
