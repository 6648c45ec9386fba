"""A query's commands: fields, display, filter, parse, stats, sort, limit and dedup, one after the other."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from local_aws.insights.expressions import (
    Expression,
    Moment,
    Row,
    expression,
    number,
    regex,
    text,
    truth,
    unquoted,
)
from local_aws.insights.tokens import Words, malformed

Rows = list[dict[str, Any]]
Command = Callable[[Rows], Rows]
COMMANDS = ("fields", "display", "filter", "parse", "stats", "sort", "limit", "dedup")
MOST_ROWS = 10_000
SHOWN = "\0shown"
"""The key under which a row has the names of what is shown of it."""


def parse(query: str) -> list[Command]:
    """Raises AwsError("MalformedQueryException")."""
    words, found = Words(query), []
    while words.take("|"):
        pass
    if words.token.kind == "end":
        raise malformed("The query has no command.")
    while words.token.kind != "end":
        word = words.next().text.lower()
        command = PARSERS.get(word)
        if command is None:
            raise malformed(f"The local AWS carries out the commands {', '.join(COMMANDS)}, not '{word}'")
        found.append(command(words))
        if words.token.kind != "end":
            words.expect("|")
    return found


def _named(words: Words, one: Callable[[Words], Any] = expression) -> list[tuple[str, Any]]:
    """Comma-separated expressions, each by its `as` or as it is written."""
    found = []
    while True:
        start = words.token.start
        value = one(words)
        name = words.since(start).strip("`")
        if words.take("as"):
            name = words.name()
        found.append((name, value))
        # AWS lets a list of statistics go on with a comma alone.
        if not words.take(","):
            return found


def _fields(words: Words) -> Command:
    named = _named(words)

    def run(rows: Rows) -> Rows:
        for row in rows:
            row.update({name: value(row) for name, value in named})
            row[SHOWN] = list(dict.fromkeys([*row.get(SHOWN, ()), *(name for name, _ in named)]))
        return rows

    return run


def _display(words: Words) -> Command:
    named = _named(words)

    def run(rows: Rows) -> Rows:
        for row in rows:
            row.update({name: value(row) for name, value in named})
            row[SHOWN] = [name for name, _ in named]
        return rows

    return run


def _filter(words: Words) -> Command:
    holds = expression(words)
    return lambda rows: [row for row in rows if truth(holds(row))]


def _parse(words: Words) -> Command:
    """parse @message "a * of *" as a, b; or a regular expression whose groups have names."""
    field: Expression = lambda row: row.get("@message")  # noqa: E731
    if words.token.kind == "name":
        name = words.name()
        field = lambda row: row.get(name)  # noqa: E731
    token = words.next()
    if token.kind == "regex":
        pattern = regex(token.text)
        if not pattern.groupindex:
            raise malformed(f"parse {token.text} names no group: write (?<name>...) for what becomes a field")
        names = list(pattern.groupindex)
    elif token.kind == "string":
        parts = unquoted(token.text).split("*")
        # The last star takes the rest, each other one as little as it can.
        pattern = re.compile("".join(
            re.escape(part) + ("" if at == len(parts) - 1 else "(.*)" if at == len(parts) - 2 and not parts[-1] else
                               "(.*?)") for at, part in enumerate(parts)), re.DOTALL)  # fmt: skip
        words.expect("as")
        names = [words.name()]
        while words.take(","):
            names.append(words.name())
        if len(names) != pattern.groups:
            raise malformed(f"parse {token.text} has {pattern.groups} *, and {len(names)} names")
    else:
        raise malformed(f'parse takes "a pattern with *" or /a regular expression/, not {token.text!r}')

    def run(rows: Rows) -> Rows:
        for row in rows:
            value = field(row)
            match = None if value is None else pattern.search(text(value))
            if match is not None:
                values = match.groupdict() if pattern.groupindex else dict(zip(names, match.groups(), strict=True))
                row.update({each: value for each, value in values.items() if value is not None})
        return rows

    return run


def _order(value: Any) -> tuple[Any, ...]:
    """As AWS sorts: what is no number before numbers; a run of digits in a text by its length and its value."""
    if value is None:
        return (0,)
    if (found := number(value)) is not None:
        return 2, found, text(value)
    parts = re.findall(r"\d+|\D", text(value))
    return 1, [("0", len(part), part) if part.isdigit() else (part, 0, "") for part in parts]


def _sort(words: Words) -> Command:
    """Without asc or desc the greatest come first."""
    keys: list[tuple[Expression, bool]] = []
    while True:
        value = expression(words)
        keys.append((value, words.take("desc") or not words.take("asc")))
        if not words.take(","):
            break

    def run(rows: Rows) -> Rows:
        for value, backwards in reversed(keys):
            rows = sorted(rows, key=lambda row, value=value: _order(value(row)), reverse=backwards)
        return rows

    return run


def _limit(words: Words) -> Command:
    token = words.next()
    count = int(token.text) if token.text.isdigit() else 0
    if not 1 <= count <= MOST_ROWS:
        raise malformed(f"limit takes a number from 1 to {MOST_ROWS}, not {token.text!r}")
    return lambda rows: rows[:count]


def _dedup(words: Words) -> Command:
    named = _named(words)

    def run(rows: Rows) -> Rows:
        found: dict[Any, dict[str, Any]] = {}
        for row in rows:
            values = tuple(value(row) for _, value in named)
            if None not in values:
                found.setdefault(tuple(map(text, values)), row)
        return list(found.values())

    return run


def _stats(words: Words) -> Command:
    statistics = _named(words, _statistic)
    by = _named(words) if words.take("by") else []

    def run(rows: Rows) -> Rows:
        groups: dict[Any, Rows] = {} if by else {(): []}
        for row in rows:
            groups.setdefault(tuple(value(row) for _, value in by), []).append(row)
        found = []
        for key, members in groups.items():
            row = {name: value for (name, _), value in zip(by, key, strict=True)}
            row |= {name: statistic(members) for name, statistic in statistics}
            found.append(row | {SHOWN: [*(name for name, _ in by), *(name for name, _ in statistics)]})
        return found

    return run


def _statistic(words: Words) -> Callable[[Iterable[Row]], Any]:
    name = words.name().lower()
    if name not in STATISTICS:
        raise malformed(f"The local AWS carries out stats of {', '.join(sorted(STATISTICS))}, not {name}")
    words.expect("(")
    value: Expression = lambda row: True  # noqa: E731
    if not words.take("*") and words.token.text != ")":
        value = expression(words)
    elif name != "count":
        raise malformed(f"{name} takes a field: {name}(@duration)")
    share = 50.0
    if name in ("pct", "percentile"):
        words.expect(",")
        token = words.next()
        share = float(token.text) if token.kind == "number" else -1.0
        if not 0 <= share <= 100:
            raise malformed(f"{name} takes a share from 0 to 100, not {token.text!r}")
    words.expect(")")
    compute = STATISTICS[name]
    return lambda rows: compute([found for row in rows if (found := value(row)) is not None], share)


def _numbers(compute: Callable[[list[float]], float]) -> Callable[[list[Any], float], Any]:
    def run(values: list[Any], share: float) -> float | None:
        found = [each for each in map(number, values) if each is not None]
        if not found:
            return None
        result = compute(found)
        return Moment(int(result)) if all(isinstance(each, Moment) for each in values) else result

    return run


def _percentile(values: list[Any], share: float) -> float | None:
    found = sorted(each for each in map(number, values) if each is not None)
    return found[max(0, math.ceil(share / 100 * len(found)) - 1)] if found else None


STATISTICS: dict[str, Callable[[list[Any], float], Any]] = {
    "count": lambda values, share: len(values), "sum": _numbers(sum), "min": _numbers(min), "max": _numbers(max),
    "avg": _numbers(lambda values: sum(values) / len(values)), "pct": _percentile, "percentile": _percentile,
    "median": _percentile, "count_distinct": lambda values, share: len(set(map(text, values))),
    "earliest": lambda values, share: values[-1] if values else None,
    "latest": lambda values, share: values[0] if values else None,
}  # fmt: skip
PARSERS: dict[str, Callable[[Words], Command]] = {
    "fields": _fields, "display": _display, "filter": _filter, "parse": _parse, "stats": _stats, "sort": _sort,
    "limit": _limit, "dedup": _dedup,
}  # fmt: skip
