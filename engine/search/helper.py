"""A helper of a search on another device: it writes the same references and scores what that one plans, and no more.

It never ends by itself: whoever drives it knows when the search has ended.
"""

from collections.abc import Sequence

from engine.request import Request
from engine.search.objective import Objective
from engine.search.reference import References
from engine.search.steps import Steps
from engine.search.trial import Notebook


def lend_a_hand(
    references: References, objective: Objective, requests: Sequence[Request], notebook: Notebook
) -> Steps[None]:
    """Score what ``notebook`` hands out, as the search itself would."""
    scored = yield from references.write(requests)
    while True:
        work = notebook.help()
        if work is None:
            yield
            continue
        trial = yield from objective.score(work.skip_set, work.source, scored[: work.prompts])
        notebook.record(trial)
