"""Is a candidate as quick as what serves? Both are asked before the release, so gently that nobody's call waits."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from musher import record
from musher.load.outcome import Target
from musher.load.pictures import LabelledPicture
from musher.release import judge
from musher.release.judge import Answer, Fleet, Tolerances

# To each of both. Of a model that is twice as slow these show it where latencies scatter by half of themselves.
REQUESTS, LEAST = 40, 30
# The first call to an endpoint opens a connection.
UNCOUNTED = 1


def compare(
    serving: Target,
    candidate: Target,
    pictures: Sequence[LabelledPicture],
    *,
    allowed: float,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], None] = time.sleep,
) -> record.JudgeCheck:
    """Ask both about the same pictures, one call at a time and one after the other, and compare their latencies as the
    judge of a release does.

    What befalls both at the moment (a busy network, a busy machine) slows both. After each call there is a pause as
    long as the call was, so what serves is busy with these for a quarter of the time.

    Parameters: `allowed` by what share of the serving model's latency the candidate may be slower.
    """
    fleets: dict[Fleet, Target] = {"old": serving, "new": candidate}
    orders = itertools.cycle([("old", "new"), ("new", "old")])
    answers: list[Answer] = []
    for number, order in zip(range(REQUESTS + UNCOUNTED), orders, strict=False):
        picture = pictures[number % len(pictures)]
        for fleet in order:
            began = clock()
            outcome = fleets[fleet](picture.data)
            took = clock() - began
            if number >= UNCOUNTED:
                answers.append(Answer(fleet, outcome.status == "succeeded", took * 1000))
            pause(took)
    return judge.latency(answers, Tolerances(slower=allowed, least_requests=LEAST))
