"""Which Lightning a model comes from: `pytorch_lightning`, or `lightning`, its copy.

The classes of the two are not each other's, and a Trainer refuses the other's with a traceback. So
everything of a run is built from the package that its model derives from. Configs may name either;
what is Caviar's own derives from the first, and takes on the other's class where it must.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from omegaconf import OmegaConf

from caviar.base.errors import UserError

PACKAGES = ("pytorch_lightning", "lightning.pytorch")
T = TypeVar("T")


def package_of(thing: Any) -> str | None:
    """The package that a module, a data module, a callback or a logger derives from; None if it is
    none of these."""
    kind = thing if isinstance(thing, type) else type(thing)
    for base in kind.__mro__:
        for package in PACKAGES:
            if _belongs(base.__module__, package):
                return package
    return None


def is_a(thing: Any, name: str) -> bool:
    """Whether it is of Lightning's class of this name, such as `ModelCheckpoint`, in either one."""
    kind = thing if isinstance(thing, type) else type(thing)
    bases = (base for base in kind.__mro__ if base.__name__ == name)
    return any(package_of(base) is not None for base in bases)


def is_inherited(thing: Any, method: str) -> bool:
    """Whether a method of a module or a data module is Lightning's own, which does nothing."""
    where = getattr(getattr(thing, method, None), "__module__", "")
    return any(_belongs(where, package) for package in PACKAGES)


def refuse_untestable(thing: Any, name: str) -> None:
    """Refuse a model, or the class of one, that confirm could not test.

    Arguments:
        thing: the model.
        name: that the config has for it.

    Raises:
        UserError: it has no test_step.
    """
    if is_inherited(thing, "test_step"):
        raise UserError(
            f"{name} has no test_step, and confirm must test it; write one beside its "
            "validation_step, and log the same metric as test/… there"
        )


def of_package(config: Any, package: str) -> Any:
    """A config whose targets, on every level, are those of one package.

    Arguments:
        config: a node, with `_target_`s such as `pytorch_lightning.Trainer`.
        package: one of `PACKAGES`.
    """
    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    if isinstance(plain, dict):
        return {
            k: _renamed(v, package) if k == "_target_" else of_package(v, package)
            for k, v in plain.items()
        }
    if isinstance(plain, list):
        return [of_package(value, package) for value in plain]
    return plain


def _renamed(target: Any, package: str) -> Any:
    for other in PACKAGES:
        if isinstance(target, str) and target.startswith(f"{other}."):
            return package + target.removeprefix(other)
    return target


def adopted(thing: T, package: str) -> T:
    """Let something of Caviar's own be of a package as well: a callback, a logger, a data module.

    Its class becomes one that derives from both, since Lightning asks for its own by `isinstance`.
    """
    if package_of(thing) in (None, package):
        return thing
    from importlib import import_module

    kind = type(thing)
    names = {base.__name__: base for base in kind.__mro__ if package_of(base) is not None}
    places = [import_module(f"{package}{part}") for part in ("", ".callbacks", ".loggers")]
    for name in names:  # in the order of derivation: the nearest that the other package has
        for place in places:
            if hasattr(place, name):
                thing.__class__ = type(kind.__name__, (kind, getattr(place, name)), {})
                return thing
    return thing


def refuse_mixture(package: str, things: Iterable[tuple[str, Any]]) -> None:
    """Refuse what comes from the other package than the model.

    Arguments:
        package: the model's.
        things: each with the config's key that it was built from.

    Raises:
        UserError: one sentence that names both.
    """
    for key, thing in things:
        other = package_of(thing)
        if other is not None and not is_of(thing, package):
            raise UserError(
                f"the model derives from {package}, and {key} ({type(thing).__name__}) from "
                f"{other}, whose classes are not the same; import both from one of the two"
            )


def is_of(thing: Any, package: str) -> bool:
    """Whether it is one of a package's own, be it beside the other's."""
    return any(_belongs(base.__module__, package) for base in type(thing).__mro__)


def _belongs(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")
