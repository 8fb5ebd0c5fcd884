"""Data of the nine tasks: what ships with scikit-learn, what is generated, and Python's source."""

from __future__ import annotations

import functools
import sysconfig
import zlib
from pathlib import Path
from typing import Any

import numpy as np


def sklearn(name: str) -> tuple[Any, Any]:
    from sklearn import datasets

    inputs, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "diabetes":
        labels = (labels - labels.mean()) / labels.std()
    return inputs, labels


digits, wine, cancer, diabetes = (
    functools.partial(sklearn, name) for name in ("digits", "wine", "breast_cancer", "diabetes")
)


def noisy() -> tuple[Any, Any]:
    """Five classes, a fifth of whose labels are drawn anew."""
    from sklearn.datasets import make_classification

    return make_classification(
        1600, 20, n_informative=8, n_classes=5, flip_y=0.2, class_sep=1.2, random_state=0
    )


def friedman() -> tuple[Any, Any]:
    """A number that follows from five of ten columns, with noise."""
    from sklearn.datasets import make_friedman1

    inputs, numbers = make_friedman1(900, 10, noise=1.0, random_state=0)
    return inputs, (numbers - numbers.mean()) / numbers.std()


PACKAGES = ("asyncio", "email", "json", "tkinter", "unittest", "xml")
HASHED = 128  # columns


def source() -> tuple[Any, Any]:
    """Of which package some lines of Python's own source are, by counts of hashed letter pairs."""
    library = Path(sysconfig.get_paths()["stdlib"])
    rows, labels = [], []
    for label, package in enumerate(PACKAGES):
        text = "\n".join(
            path.read_text(errors="replace") for path in sorted((library / package).rglob("*.py"))
        )
        pieces = [text[i : i + 200] for i in range(0, len(text), 200)]
        chosen = np.random.default_rng(label).permutation(len(pieces))[:250]
        for piece in (pieces[i] for i in chosen):
            places = [zlib.crc32(piece[i : i + 2].encode()) % HASHED for i in range(len(piece))]
            rows.append(np.bincount(places, minlength=HASHED))
            labels.append(label)
    return np.sqrt(np.array(rows)), np.array(labels)
