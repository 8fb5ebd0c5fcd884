"""Refuse a bad search before anything runs: which file, which key, what to write instead.

A search trains for hours, and a slip that the last of its stages would stumble over costs all of
them. So each check is made on the config that the trials in question will have, their own overrides
among them, and not on that of the command alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from caviar.base.environment import several_devices
from caviar.base.errors import UserError
from caviar.base.terminal import complain
from caviar.config import resolvers
from caviar.config.compose import Source, get_object
from caviar.config.keys import LIGHTNING, Keys, metric_of
from caviar.config.messages import SLIPS, message
from caviar.config.overrides import joined, override_key
from caviar.config.packages import refuse_absent
from caviar.config.values import check_root, check_training
from caviar.refine.surrogate import TOP
from caviar.screen.view import plural
from caviar.search.rungs import planned_trials
from caviar.search.study import Study
from caviar.space import Space, SpaceError, lint
from caviar.space.lint import flatten
from caviar.space.sweep_file import SweepFile


def no_seed(arguments: Sequence[str], key: str) -> None:
    """Every trial of a search has a seed of its own, by this key of the config."""
    for argument in arguments:
        if override_key(argument) == key:
            value = argument.partition("=")[2]
            raise UserError(
                f"{argument}: in a search every trial has a training seed of its own, made from "
                f"search.seed; write search.seed={value}"
            )


def no_fixed_axis(sweep: SweepFile) -> None:
    """What the command line fixes cannot be drawn as well."""
    names = {axis.key: axis.name for axis in sweep.space}
    if "seed" in names:
        raise UserError(
            "space.seed: every trial has a seed of its own, made from search.seed; a seed is no "
            "hyperparameter, and confirm trains with several"
        )
    for override in sweep.overrides:
        key = override_key(override)
        if key in names:
            raise UserError(
                f"{override} fixes an axis of the space; write '~space.{key}' as well to take it "
                f"out of the search, or space.{key}=… to change its range"
            )


def same_metric(sweep: SweepFile, config: DictConfig, file: Path) -> None:
    """A sweep file must watch what its trials select their best epoch by."""
    asked, trained = (sweep.metric, sweep.mode), (metric_of(config).name, metric_of(config).mode)
    if asked != trained:
        raise UserError(
            f"{file}: the metric is {' '.join(asked)}, but its trials would keep the best "
            f"{' '.join(trained)}; add metric.name={asked[0]} and metric.mode={asked[1]} to its "
            "command"
        )


def trainable(config: DictConfig, keeps_checkpoint: bool) -> None:
    """Refuse a config that no trial of a search can have.

    Arguments:
        config: what the trials train.
        keeps_checkpoint: a confirmation follows, which tests the checkpoint of the best epoch.
    """
    resolvers.refuse_taken()
    metric_of(config)
    kind = Keys.of(config).kind
    if kind != LIGHTNING:  # it keeps what it keeps
        check_training(config)
        return
    check_root(config)
    refuse_absent(config)
    no_test(config)
    one_device(config)
    if config.ckpt_path is not None or not config.fit:
        raise UserError(
            f"ckpt_path={config.ckpt_path} fit={config.fit}: a trial of a search is trained from "
            "its own start, else its setting is not what it was trained with; leave both out"
        )
    if keeps_checkpoint and config.trainer.get("fast_dev_run"):
        raise UserError(
            "trainer.fast_dev_run (debug=fast) keeps no checkpoint, and confirm must test one; "
            "write trainer.max_epochs=1"
        )
    # By name, as the class may be anybody's: importing it would cost seconds for a mere look.
    callbacks = (config.callbacks or {}).values()
    names = [str(c.get("_target_")) for c in callbacks if OmegaConf.is_config(c)]
    if keeps_checkpoint and not any(name.endswith("Checkpoint") for name in names):
        raise UserError(
            "the callbacks keep no checkpoint, and confirm must test one; write "
            "callbacks=default, or run single stages without: python train.py -m callbacks=none"
        )


def has_test_step(config: DictConfig) -> None:
    """Refuse a model that confirm could not test, before it is trained many times. Imports it."""
    if Keys.of(config).kind != LIGHTNING:
        return
    from caviar.training.package import refuse_untestable

    model = config.model.get("_target_")
    try:
        target = get_object(model)
    except Exception:  # it may be anything, in the user's module; the first trial says what
        return
    if isinstance(target, type):
        refuse_untestable(target, model)


def enough_to_refine(study: Study, coarse: SweepFile, shared: Sequence[str]) -> None:
    """Refuse a search one of whose stages would leave too few trials to refine the next one from,
    before any of them is trained.

    Arguments:
        study: that is to be searched, or to go on.
        coarse: its first stage.
        shared: the overrides of all its stages.
    """
    begun, alike, parent, number = study.stages(), Counter[tuple[str, ...]](), "", 0
    overrides: Sequence[str] = ()
    planned = planned_trials(study)
    for full, (name, declared) in zip(
        study.settings.stage_names(), study.settings.stages.items(), strict=True
    ):
        written = study.sweep_path(full)
        if full == coarse.stage:
            overrides, number = coarse.overrides, coarse.num_trials
        elif full in begun:
            overrides, number = study.begun_sweep(full).overrides, 0
        elif written.exists():
            file = SweepFile.read(written)
            overrides, number = file.overrides, file.num_trials
        else:
            # Losses of stages that trained otherwise do not compare, so they are not read.
            trials = alike[tuple(sorted(overrides))]
            if parent and trials < TOP:
                lacking = f"{parent}={number + TOP - trials}"
                raise UserError(
                    f"{parent}={number}: {name} would be refined from {plural(trials, 'trial')}, "
                    f"and refining takes {TOP}; write {lacking}"
                )
            overrides, number = joined(shared, declared.overrides), planned[full]
        there = study.ledger.overview(full).total if full in begun else 0
        alike[tuple(sorted(overrides))] += (number := max(number, there))
        parent = f"search.stages.{name}.num_trials"
        if full == coarse.stage and study.settings.sweep is not None:
            parent = f"{study.settings.sweep}: run_cap"


def nothing_lost(config: DictConfig, sources: Sequence[Source]) -> None:
    """Refuse settings of a file that count for nothing, because Caviar's own defaults come behind
    them: a root config may have `_self_` first.

    Arguments:
        config: composed.
        sources: (file, its content from the root on), in the order in which they were merged.

    Raises:
        UserError: it names the file and the first key.
    """
    said: dict[str, tuple[str, Any]] = {}
    for file, content in sources:
        tree: Any = OmegaConf.to_container(content, resolve=False)
        node = tree.get("search") if isinstance(tree, dict) else None
        if isinstance(node, dict):
            said |= {key: (file, value) for key, value in flatten(node, "search.")}
    for key, (file, value) in said.items():
        now = OmegaConf.select(config, key)
        if not (isinstance(value, str) and "${" in value) and now is not None and now != value:
            raise UserError(
                f"{file}: {key}: {value} counts for nothing, since `- caviar: default` comes "
                "behind it; write `- _self_` behind that in the defaults"
            )


@contextmanager
def named(where: str) -> Iterator[None]:
    """Name the place in front of a message of Hydra's, which does not know of it."""
    try:
        yield
    except SLIPS as error:
        raise UserError(f"{where}: {message(error)}") from None


def no_test(config: DictConfig) -> None:
    """The test set is locked during a search."""
    if config.test:
        raise UserError("test=true: the test set is locked during a search; confirm opens it once")


def one_device(config: DictConfig) -> None:
    """Distributed training re-runs the whole command in every rank, sweep and all."""
    # The pool gives such a trial a process of its own, with the command line of a single run.
    launcher = str(config.hydra.launcher._target_).rpartition(".")[2]
    if several_devices(config) and launcher != "PoolLauncher":
        devices, strategy = config.trainer.get("devices", 1), config.trainer.get("strategy", "auto")
        raise UserError(
            f"trainer.devices={devices} trainer.strategy={strategy}: {launcher} trains inside its "
            "own process, and a trial on several devices needs one of its own; write "
            "hydra/launcher=pool, or trainer.devices=1"
        )


def parse_space(config: DictConfig, sources: Sequence[Source]) -> Space:
    """The config's space, checked against the config.

    Arguments:
        config: composed.
        sources: (file, its content from the root on), later ones win: to name the file at fault.
    """
    try:
        tree: Any = OmegaConf.to_container(config.space, resolve=True)
        space = Space.parse(tree)
    except SpaceError as error:
        raise UserError(_located(error.key, error.message, sources)) from None
    except OmegaConfBaseException as error:
        key = (error.full_key or "").removeprefix("space.")
        words = message(error).splitlines()[0].removeprefix(f"{error.full_key}: ")
        raise UserError(_located(key, words, sources)) from None
    if not len(space):
        raise UserError("the space is empty; write space=all, or declare an axis in conf/space/")
    check_space(space, config, sources)
    return space


def check_space(
    space: Space,
    config: DictConfig,
    sources: Sequence[Source],
    file: str | None = None,
) -> None:
    """Refuse, or warn of, what `lint` finds.

    `sources` name the file at fault, or `file` does, the sweep file that declares the space: its
    ranges may well have left the config's defaults behind.
    """
    for problem in lint(space, plain_config(config), refined=file is not None):
        located = _located(problem.key, problem.message, sources, file or "space")
        if problem.fatal:
            raise UserError(located)
        complain(f"warning: {located}")


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The part of a config that a space may search, as plain containers."""
    plain: Any = OmegaConf.to_container(config, resolve=False)
    plain = {k: v for k, v in plain.items() if k not in ("hydra", "space", "search", "panda")}
    for node in ("data", "model", "optimizer", "scheduler", "trainer"):
        if OmegaConf.is_config(config.get(node)):
            # Some values can be had only inside of a run, such as its folder.
            with suppress(OmegaConfBaseException):
                plain[node] = OmegaConf.to_container(config[node], resolve=True)
    return plain


def _located(key: str, problem: str, sources: Sequence[Source], file: str = "space") -> str:
    """A problem of an axis, behind the file that declares it: of several the one that counts."""
    for source, content in reversed(sources):
        tree: Any = OmegaConf.to_container(content, resolve=False)
        for part in ("space", *key.split(".")):
            tree = tree.get(part) if isinstance(tree, dict) else None
        if tree is not None:
            return f"{source}: {key}: {problem}"
    return f"{file}: {key}: {problem}"
