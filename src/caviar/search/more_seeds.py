"""What to do about a gain that is seen and not shown: more seeds for the same candidates.

    for line in how_to_decide(verdict, "digits"):   # where verdict.decided is False
        print(line)

They need no new search. The race has left one candidate, so each pair of seeds is two trainings.
"""

from __future__ import annotations

import math

from caviar.config.commands import caviar_command, set_to
from caviar.search.race import AGAIN, FEWEST, standard_errors_needed
from caviar.search.settings import ALWAYS
from caviar.search.verdict import Verdict

AFFORDABLE = 20  # times as many pairs of seeds as there are


def how_to_decide(verdict: Verdict, study: str) -> list[str]:
    """How to give more seeds, or to let it be, each a line.

    Arguments:
        verdict: that is not decided.
        study: its name.
    """
    budget = enough(verdict)
    more = "no affordable number of seeds would show a gain as small as this one"
    if budget is not None:
        command = caviar_command("confirm", study, set_to("search.confirm.budget", budget))
        more = f"more seeds for the same candidates, without a new search: {command}"
    shut = caviar_command("confirm", study, set_to("search.confirm.test", ALWAYS))
    return [more, f"the test set stays shut until it is decided; to open it as it is: {shut}"]


def enough(verdict: Verdict) -> int | None:
    """The budget that shows a gain of this size, as likely as not; None if none affordable does."""
    found = verdict.paired
    deviation = found.error * math.sqrt(found.pairs)
    for pairs in range(max(2 * found.pairs, FEWEST), AFFORDABLE * found.pairs + 1):
        needed = standard_errors_needed(pairs, verdict.candidates, AGAIN)
        # Of one pair no spread is known, and the fewest that can show anything are a beginning.
        if not math.isfinite(deviation) or found.gain * math.sqrt(pairs) > needed * deviation:
            return verdict.spent + 2 * (pairs - found.pairs)
    return None
