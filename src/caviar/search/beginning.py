"""What a search, or a confirmation, makes sure of first: that its model can do what it needs.

Two batches are trained where the trials will be, by the same launcher, which takes a second or two.
Without it a bug in `test_step` shows after the last training of all.
"""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from caviar.base.errors import ProcessDied, SearchFailed, UserError, one_line
from caviar.base.files import last_line
from caviar.base.result import Rehearsal
from caviar.config.keys import LIGHTNING, Keys
from caviar.config.overrides import override_value, rewrite_one_minus
from caviar.config.reading import refuse_unread
from caviar.pool.worker import OUTPUT
from caviar.screen.view import console, shown_path
from caviar.search import checks
from caviar.search.study import Study

FOLDER = "rehearsal"  # in the study's


def begin_well(
    study: Study, overrides: Sequence[str], trained: DictConfig, axes: Sequence[str] = ()
) -> None:
    """Rehearse the default setting, unless `search.rehearse=false`.

    Arguments:
        study: whose trials are to come.
        overrides: of every one of them.
        trained: the config that these make.
        axes: config keys that will be searched.

    Raises:
        UserError: what a search needs is missing, or it would search what nobody reads.
        SearchFailed: the model, or the data, raised something of its own.
    """
    if Keys.of(trained).kind != LIGHTNING:
        return  # nobody knows how to make it short
    if not study.settings.rehearse:
        checks.has_test_step(trained)
        return
    console.print("rehearsal: two batches of training, validation, checkpoint and test_step")
    folder = study.folder / FOLDER
    (folder / Rehearsal.FILE).unlink(missing_ok=True)
    place = {"check": "rehearsal", "hydra.sweep.subdir": FOLDER, "search.study": study.name}
    job = [*rewrite_one_minus(overrides)]
    job += [f"{key}={override_value(value)}" for key, value in place.items()]
    returned = study.launch([job], 0)
    error = getattr(returned[0], "_return_value", None) if returned else None
    if isinstance(error, UserError):
        raise error
    found = Rehearsal.read(folder)
    if found is None:
        # One on several devices is a process of its own, and its last words are in a file.
        if isinstance(error, Exception) and not isinstance(error, ProcessDied):
            told = one_line(error)
        else:
            told = last_line(folder / OUTPUT)
        raise SearchFailed(
            f"the rehearsal failed, before anything was trained:\n  {told}\n"
            f"what it printed is in {shown_path(folder)}; mend it, and run the same command again"
        )
    refuse_unread(trained, axes, found.reads_declared)
    if not found.keeps_checkpoint:
        raise UserError(
            "the callbacks kept no checkpoint of the best epoch, and confirm must test one; write "
            "callbacks=default, or step by optimizers that Lightning counts "
            "(self.optimizers(), not use_pl_optimizer=False)"
        )
