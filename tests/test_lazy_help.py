"""Hydra begins on Python 3.14, which the tests of this machine's Python only act out."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import pytest
from hydra._internal.utils import get_args_parser

from caviar.config.lazy_help import accept_lazy_help


@pytest.fixture
def as_in_3_14(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argparse that looks into each help text as it is added."""
    kind: Any = ArgumentParser
    add = kind.add_argument

    def look(parser: Any, action: Any) -> None:
        try:
            _ = "%" in (action.help or "")
        except TypeError as error:
            raise ValueError("badly formed help string") from error

    def add_and_look(parser: Any, *words: Any, **named: Any) -> Any:
        action = add(parser, *words, **named)
        parser._check_help(action)
        return action

    monkeypatch.setattr(kind, "_check_help", look, raising=False)
    monkeypatch.setattr(kind, "add_argument", add_and_look)


@pytest.mark.usefixtures("as_in_3_14")
def test_a_help_that_is_no_text_is_accepted() -> None:
    with pytest.raises(ValueError, match="badly formed"):
        ArgumentParser().add_argument("--lazy", help=object())  # type: ignore[arg-type]
    for _ in range(2):
        accept_lazy_help()
    assert "--shell-completion" in get_args_parser().format_usage()
    with pytest.raises(ValueError, match="badly formed"):  # of a text, it still sees what is wrong
        ArgumentParser().add_argument("--wrong", help=BadText("x"))


class BadText(str):
    def __contains__(self, key: object) -> bool:
        raise TypeError


def test_nothing_changes_before() -> None:
    before = vars(ArgumentParser).copy()
    accept_lazy_help()
    if "_check_help" not in dir(ArgumentParser):
        assert vars(ArgumentParser) == before
