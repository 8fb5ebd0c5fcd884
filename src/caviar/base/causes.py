"""Which exception began it, where one has led to others.

failed = first_cause(error)       # not what Lightning's teardown raised because of it
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from types import TracebackType

_EVERYTHING = ("BaseException", "Exception")
_Try = (ast.Try, ast.TryStar)
_With = (ast.With, ast.AsyncWith)


def first_cause(error: BaseException, last: type[BaseException] | tuple[()] = ()) -> BaseException:
    """The exception that `error` goes back to, or the first of the kind `last` on the way there.

    It is the one that `raise … from` names; and one after which code was tidying up when the next
    came: in a `finally`, at the end of a `with`, or in an `except` that catches everything. An
    exception that was caught by its name has been dealt with there, and one that was replaced on
    purpose, by a `raise` in its `except`, has nothing more to say.
    """
    passed = [error]
    while not isinstance(passed[-1], last):
        earlier = passed[-1].__cause__
        if earlier is None and not passed[-1].__suppress_context__ and _met_tidying(passed[-1]):
            earlier = passed[-1].__context__
        if earlier is None or earlier in passed:  # nobody forbids a circle
            break
        passed.append(earlier)
    return passed[-1]


def _met_tidying(error: BaseException) -> bool:
    """Whether code was tidying up after the exception's context when it came."""
    context = error.__context__
    if context is None or context.__traceback__ is None:  # the traceback of another process's
        return False
    caught = context.__traceback__  # begins in the frame that caught it
    raised = next((t for t in _entries(error) if t.tb_frame is caught.tb_frame), None)
    if raised is None:
        return False
    source = "".join(linecache.getlines(caught.tb_frame.f_code.co_filename))
    try:
        tree = ast.parse(source)
    except SyntaxError:  # no Python, such as a notebook's cell
        return False
    return any(_tidies(node, caught.tb_lineno, raised.tb_lineno) for node in ast.walk(tree))


def _tidies(node: ast.AST, first: int, then: int) -> bool:
    """Whether a statement tidies up in one line after what was raised in another."""
    if isinstance(node, _With):
        return _within(node.body, first) and node.lineno <= then < node.body[0].lineno
    if not isinstance(node, _Try):
        return False
    if _within(node.finalbody, then):
        return not _raises(node.finalbody, then) and node.lineno <= first < node.finalbody[0].lineno
    return _within(node.body, first) and any(
        _within(handler.body, then) and _catches_all(handler) and not _raises(handler.body, then)
        for handler in node.handlers
    )


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in _EVERYTHING
    )


def _within(body: list[ast.stmt], line: int) -> bool:
    return any(s.lineno <= line <= (s.end_lineno or s.lineno) for s in body)


def _raises(body: list[ast.stmt], line: int) -> bool:
    statements = (node for s in body for node in ast.walk(s) if isinstance(node, ast.Raise))
    return any(_within([statement], line) for statement in statements)


def _entries(error: BaseException) -> Iterator[TracebackType]:
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next
