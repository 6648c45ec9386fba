"""What SageMaker's List operations have in common: filters by name, status and time, and an order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Item = TypeVar("Item")
Of = Callable[[Item], Any]


def chosen(
    items: Iterable[Item],
    asked: Mapping[str, Any],
    *,
    name: Of[Item],
    created: Of[Item],
    modified: Of[Item] | None = None,
    status: Of[Item] | None = None,
    newest_first: bool = True,
) -> list[Item]:
    """Those that a call asks for, in its order.

    AWS: API reference, ListTrainingJobs and the others: NameContains, StatusEquals, CreationTimeAfter and -Before,
    LastModifiedTimeAfter and -Before, SortBy and SortOrder. `newest_first` is the order when none is asked for.
    """
    times = [(created, "CreationTimeAfter", "CreationTimeBefore")]
    if modified:
        times.append((modified, "LastModifiedTimeAfter", "LastModifiedTimeBefore"))
    wanted, status_wanted = (asked.get("NameContains") or "").lower(), asked.get("StatusEquals")
    between = [(of, asked.get(after), asked.get(before)) for of, after, before in times]
    keys = {"Name": name, "Status": status, "CreationTime": created, "LastModifiedTime": modified}
    found = [
        item
        for item in items
        if wanted in name(item).lower()
        and (status is None or status_wanted in (None, status(item)))
        and all(_between(of(item), after, before) for of, after, before in between)
    ]
    key = keys.get(asked.get("SortBy") or "CreationTime") or created
    order = asked.get("SortOrder") or ("Descending" if newest_first else "Ascending")
    return sorted(found, key=key, reverse=order == "Descending")


def _between(moment: dt.datetime, after: dt.datetime | None, before: dt.datetime | None) -> bool:
    moment = aware(moment)
    return (after is None or moment >= aware(after)) and (before is None or moment <= aware(before))


def aware(moment: dt.datetime) -> dt.datetime:
    """Moto's times are UTC without saying so."""
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
