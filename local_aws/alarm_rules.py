"""The rules of composite alarms: which states of other alarms they ask for.

Source: CloudWatch user guide, "Create a composite alarm" and API reference, PutCompositeAlarm: ALARM(...), OK(...) and
INSUFFICIENT_DATA(...) of a name or an ARN, AT_LEAST(number or share, state, (alarms)), TRUE, FALSE, AND, OR, NOT and
parentheses.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from local_aws.errors import validation

States = Callable[[str], str]
"""The state of the alarm that has a name; "" where none has."""
LONGEST, MOST_CHILDREN, MOST_ELEMENTS = 10_240, 100, 500
STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")
NUMBER = re.compile(r"([1-9]\d{0,2})(%?)")
TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[()]|[^\s()",]+|,)')


@dataclass(frozen=True)
class Rule:
    """A parsed rule: whether it is true, by the states of its children, whose names these are."""

    holds: Callable[[States], bool]
    children: tuple[str, ...]


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Rule:
    """Raises AwsError for what is no rule."""
    if len(text) > LONGEST:
        raise validation(f"AlarmRule has {len(text)} characters, and may have {LONGEST}.")
    return _Parser(text).parsed()


class _Parser:
    """NOT binds closer than AND, AND closer than OR."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._at = 0
        self._children: dict[str, None] = {}

    def _split(self) -> Iterator[tuple[str, int]]:
        at = 0
        while self._text[at:].strip():
            match = TOKEN.match(self._text, at)
            if match is None:
                start = at + len(self._text[at:]) - len(self._text[at:].lstrip())
                raise self._refusal(self._text[start], start)
            yield match[1], match.start(1)
            at = match.end()

    def parsed(self) -> Rule:
        if len(self._tokens) > 4 * MOST_ELEMENTS:
            raise validation(f"AlarmRule has more than {MOST_ELEMENTS} elements.")
        holds = self._any()
        if self._at < len(self._tokens):
            raise self._refusal(*self._tokens[self._at])
        if len(self._children) > MOST_CHILDREN:
            raise validation(f"AlarmRule names {len(self._children)} alarms, and may name {MOST_CHILDREN}.")
        return Rule(holds, tuple(self._children))

    def _any(self) -> Callable[[States], bool]:
        parts = [self._all()]
        while self._take("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda states: any(each(states) for each in parts)

    def _all(self) -> Callable[[States], bool]:
        parts = [self._one()]
        while self._take("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda states: all(each(states) for each in parts)

    def _one(self) -> Callable[[States], bool]:
        if self._take("NOT"):
            part = self._one()
            return lambda states: not part(states)
        if self._take("("):
            inner = self._any()
            self._expect(")")
            return inner
        token, start = self._next()
        if token in ("TRUE", "FALSE"):
            return lambda states: token == "TRUE"
        if token == "AT_LEAST":
            return self._at_least()
        if token not in STATES:
            raise self._refusal(token, start)
        self._expect("(")
        name = self._child()
        self._expect(")")
        return lambda states: states(name) == token

    def _at_least(self) -> Callable[[States], bool]:
        """AT_LEAST(2, ALARM, (a, b, c)), AT_LEAST(50%, NOT OK, (a, b))."""
        self._expect("(")
        token, start = self._next()
        amount = NUMBER.fullmatch(token)
        if amount is None:
            raise self._refusal(token, start)
        self._expect(",")
        wanted = not self._take("NOT")
        state, at = self._next()
        if state not in STATES:
            raise self._refusal(state, at)
        self._expect(",")
        self._expect("(")
        names = [self._child()]
        while self._take(","):
            names.append(self._child())
        self._expect(")")
        self._expect(")")
        number, most = int(amount[1]), 100 if amount[2] else len(names)
        if number > most:
            raise validation(
                f"AT_LEAST({token}, ...) in AlarmRule must ask for at most {most}{amount[2]} of its alarms."
            )
        needed = math.ceil(len(names) * number / 100) if amount[2] else number
        return lambda states: sum((states(each) == state) is wanted for each in names) >= needed

    def _child(self) -> str:
        """The name of an alarm, which is one of the rule's children."""
        name, start = self._next()
        if name in ("(", ")", ","):
            raise self._refusal(name, start)
        self._children[_named(name)] = None
        return _named(name)

    def _next(self) -> tuple[str, int]:
        if self._at == len(self._tokens):
            raise self._refusal("end of rule", len(self._text))
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, token: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at][0] == token
        self._at += found
        return found

    def _expect(self, wanted: str) -> None:
        token, start = self._next()
        if token != wanted:
            raise self._refusal(token, start)

    @staticmethod
    def _refusal(token: str, start: int) -> Exception:
        return validation(f"Error in AlarmRule [Unsupported token '{token}' at char {start}]")


def _named(text: str) -> str:
    """The name of the alarm that a rule names, in quotes or not, or by its ARN."""
    name = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
    return name.partition(":alarm:")[2] if name.startswith("arn:") else name
