"""Types commands, each into a process of its own that has torch imported already.

    echo '["caviar", "status"]' | python tests/typist.py

A line of JSON on stdin is a command's words, `python train.py …` or `caviar …`; the answer is a
line with its exit code, what it printed and its warnings. A fresh process for a command takes five
seconds, most of them imports; a fork of one that has imported, and run, nothing else takes none.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import NoReturn


def run(words: list[str]) -> NoReturn:
    """Be the process of a command, to its end."""
    program, *arguments = words
    code = 0
    try:
        sys.argv = arguments if program == "python" else [program, *arguments]
        if program == "python":
            sys.path[0] = str(Path(arguments[0]).resolve().parent)
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            from caviar.cli import main as caviar

            caviar()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    import caviar.app
    import caviar.cli
    import caviar.training  # noqa: F401  torch and Lightning, which take the time

    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            pid = os.fork()
            if pid == 0:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                run(json.loads(line))
            _, status = os.waitpid(pid, 0)
            out.seek(0)
            err.seek(0)
            answer = [os.waitstatus_to_exitcode(status), out.read(), err.read()]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
