"""Files that are there whole or not at all, also while another process reads or writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to, which then takes the place of `path`."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")  # of the same kind
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
