"""Text that every machine has: the source of Python's own standard library, by characters.

    python train.py experiment=text

Another version of Python has another library, and therefore other losses: compare results of one
machine only.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caviar.base.errors import UserError
from caviar.training.data import Rows, SplitData

# A symbol is a place in this text; the one behind the last stands for every other character.
CHARACTERS = "".join(map(chr, range(ord(" "), ord("~") + 1))) + "\n"
UNKNOWN = len(CHARACTERS)
NUM_SYMBOLS = UNKNOWN + 1  # 97
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_SYMBOLS = np.full(129, UNKNOWN)  # by code point, all from 128 on in the last place
_SYMBOLS[[ord(c) for c in CHARACTERS]] = np.arange(UNKNOWN)


def encode(text: str) -> np.ndarray:
    """The symbol of each character, shape (characters,)."""
    # As UTF-32 a character is one number, so a table looks all of them up at once. A file may hold
    # lone surrogates, which no UTF lets pass unless it is told to.
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return _SYMBOLS[np.minimum(points, 128)]


def decode(symbols: Any) -> str:
    """The text of symbols, shape (characters,); an unknown one becomes U+FFFD."""
    return "".join((CHARACTERS + REPLACEMENT)[int(symbol)] for symbol in symbols)


class SourceText(SplitData):
    """The beginning of every module of the standard library, each file in one part of the split.

    An example is a window: inputs are `length` characters of a file, labels the same moved on by
    one, so that each character is predicted from those before it in its window. Both have shape
    (windows, length). Windows do not overlap, and none spans two files.

    Arguments:
        num_symbols: 97, whatever the text: printable ASCII, the newline, and one for any other
            character. The model's follows it.
        length: characters in a window.
        chars_per_file: how many of a file's first characters are read.
        folder: the library, or another folder of .py files; packages in it and names that begin
            with an underscore are left out.
        split: `batch_size` in windows, `split_seed`, `fractions` of the files, and `seed`.

    Raises:
        UserError: no such text, or no whole window in it.
    """

    eval_batch_size = 128

    def __init__(
        self,
        num_symbols: int,
        length: int,
        chars_per_file: int,
        folder: str | None = None,
        **split: Any,
    ) -> None:
        super().__init__(**split)
        if num_symbols != NUM_SYMBOLS:
            raise UserError(f"data.num_symbols is {NUM_SYMBOLS}, not {num_symbols}")
        if not 1 <= length < chars_per_file:
            raise UserError(
                f"data.length={length} should lie between 1 and {chars_per_file - 1}, one below "
                "data.chars_per_file"
            )
        self.num_symbols, self.length, self.chars_per_file = num_symbols, length, chars_per_file
        self.folder = Path(folder or sysconfig.get_path("stdlib"))
        self.files: dict[str, list[str]] = {}  # names of each part

    def setup(self, stage: str | None = None) -> None:
        """Read once, and split by file."""
        if self.splits:
            return
        names = sorted(p.name for p in self.folder.glob("[!_]*.py"))
        if not names:
            raise UserError(
                f"there is no Python source in {self.folder}; write a folder that has some as "
                "data.folder"
            )
        files = {k: [names[i] for i in sorted(part)] for k, part in self.parts(len(names)).items()}
        self.splits = {part: self._windows(part, files[part]) for part in files}
        self.files = files

    def _windows(self, part: str, names: list[str]) -> Rows:
        inputs, labels = [], []
        for name in names:
            with open(self.folder / name, encoding="utf-8", errors="replace") as file:
                symbols = encode(file.read(self.chars_per_file))
            # A window needs one character more, for its last label.
            end = max(0, len(symbols) - 1) // self.length * self.length
            inputs.append(symbols[:end].reshape(-1, self.length))
            labels.append(symbols[1 : end + 1].reshape(-1, self.length))
        rows = Rows(*(torch.from_numpy(np.concatenate(v)) for v in (inputs, labels)))
        if not len(rows):
            raise UserError(
                f"data.length={self.length}: no file for {part} in {self.folder} is longer; "
                "write a smaller one"
            )
        return rows
