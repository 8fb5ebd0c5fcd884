"""The help of `caviar`: every verb with its whole summary, in the order of the work."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

# The others follow, as they were declared.
ORDER = (
    *("new", "search", "status", "refine", "retry", "confirm", "importance", "report"),
    *("worker", "panda", "sweep", "agent", "sync"),
)
TRAIN = ("train.py", "Train one model: python train.py optimizer.lr=0.05; with -m, one stage.")


class Verbs(TyperGroup):
    """Commands whose summaries are wrapped, where Typer cuts them off."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return sorted(names, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            summary = " ".join((command.help or "").partition("\n\n")[0].split())
            rows.append((name, summary))
            if name == "new":  # which no verb is, and belongs between these two
                rows.append(TRAIN)
        with formatter.section("Commands"):
            formatter.write_dl(rows)
