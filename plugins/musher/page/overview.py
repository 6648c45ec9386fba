"""The page "Musher": its panels, each of which is read by itself and says so by itself when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musher.page import live, past, serving
from musher.page.aws import Aws
from musher.page.dags import DEPLOY, REMEMBERED, ROLL_BACK, RUNNING_COSTS
from musher.page.reader import Reader, Seen
from musher.record import PastRun

COSTS_EVERY_SECONDS = 60.0
# Of a thousand runs the newest are in the table; all of them are in the charts.
IN_TABLE = 25


@dataclass(frozen=True)
class Rights:
    """What a user may do: see the runs of which DAGs, see what costs money, start a roll-back; and `deploy`, with which
    come trying a photo, and seeing those of callers: who deploys says whether they are captured."""

    histories: tuple[str, ...]
    costs: bool
    roll_back: bool
    deploy: bool


def rights(user: Any) -> Rights:
    """A user's rights; asks Airflow's database."""
    from musher.page.rights import may  # that imports Airflow's API server, a second where nothing is served

    return Rights(
        histories=tuple(dag for dag in REMEMBERED if may(user, "GET", dag)),
        costs=may(user, "GET", RUNNING_COSTS),
        roll_back=may(user, "POST", ROLL_BACK),
        deploy=may(user, "POST", DEPLOY),
    )


async def look(aws: Aws, reader: Reader, allowed: Rights) -> dict[Any, Seen]:
    """What is known of each panel that a user may see."""
    subjects: dict[Any, Any] = {
        "serving": reader.look("serving", lambda before: serving.read(aws)),
        "traffic": reader.look("traffic", lambda before: serving.traffic(aws)),
        "live": reader.look("live", lambda before: live.read(aws, before), every=live.EVERY_SECONDS),
    }
    if allowed.costs:
        read = lambda before: serving.costs(aws, before)  # noqa: E731
        subjects["costs"] = reader.look("costs", read, every=COSTS_EVERY_SECONDS)
    for dag in allowed.histories:
        subjects["history", dag] = reader.look(("history", dag), past.reading(aws, dag))
    return dict(zip(subjects, await asyncio.gather(*subjects.values()), strict=True))


def runs(seen: Mapping[Any, Seen]) -> list[PastRun]:
    """The runs of all histories that were read, the newest one first."""
    known = [each.value for key, each in seen.items() if key[0] == "history" and each.value]
    return sorted((run for each in known for run in each.history.runs), key=lambda run: run.at, reverse=True)


def shown(seen: Mapping[Any, Seen], allowed: Rights) -> dict[str, Any]:
    """What the template shows."""
    known = runs(seen)
    serves = seen["serving"].value
    histories = [each for key, each in seen.items() if key[0] == "history"]
    return {
        "seen": seen,
        "oldest": min((each.at for each in seen.values() if each.at), default=None),
        "allowed": allowed,
        "serves": serves,
        "since": serves and (past.since(known, serves.config) or serves.since),
        "traffic": seen["traffic"].value,
        "live": seen["live"].value,
        "costs": seen["costs"].value if "costs" in seen else None,
        "history": Seen(
            value=known,
            at=min((each.at for each in histories if each.at), default=None),
            problem=next((each.problem for each in histories if each.problem), ""),
        ),
        "releases": past.releases(known),
        "charts": past.charts(known),
        "table": known[:IN_TABLE],
    }
