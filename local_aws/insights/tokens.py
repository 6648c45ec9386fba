"""The words of a query, and the errors that name one."""

from __future__ import annotations

import re
from typing import NamedTuple

from local_aws.errors import AwsError

WORD = re.compile(
    r"""\s+|\#[^\n]*
    |(?P<regex>(?<=[ (=~\n\t])/(?!\s)(?:[^/\\\n]|\\.)+/i?)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>\d+(?:\.\d+)?(?![\w.]))
    |(?P<length>\d+(?:ms|[smhdw])\b)
    |(?P<name>`[^`]+`|@?[A-Za-z_][\w.]*)
    |(?P<sign>=~|!=|<=|>=|[=<>()\[\],|+\-*/%^])""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """One word."""

    kind: str
    """regex, string, number, length, name, sign, or end."""
    text: str
    start: int


def malformed(message: str) -> AwsError:
    """The error for a query that is none, or that asks for what is not carried out."""
    return AwsError("MalformedQueryException", message)


def tokens(text: str) -> list[Token]:
    """Raises AwsError for a character that begins no word."""
    found, at = [], 0
    while at < len(text):
        match = WORD.match(text, at)
        if match is None:
            raise malformed(f"unexpected symbol found {text[at]} at line {text.count(chr(10), 0, at) + 1} and position "
                            f"{at - text.rfind(chr(10), 0, at)}")  # fmt: skip
        if match.lastgroup is not None:
            found.append(Token(match.lastgroup, match[0], at))
        at = match.end()
    return [*found, Token("end", "", len(text))]


class Words:
    """A query's words one after the other."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens, self._at = tokens(text), 0

    @property
    def token(self) -> Token:
        """The next word."""
        return self._tokens[self._at]

    def next(self) -> Token:
        """Take the next word."""
        token = self.token
        self._at += token.kind != "end"
        return token

    def take(self, *texts: str) -> bool:
        """Take the next words where they are these, in any case."""
        following = self._tokens[self._at : self._at + len(texts)]
        if [each.text.lower() for each in following] != list(texts):
            return False
        if any(each.kind not in ("name", "sign") for each in following):
            return False
        self._at += len(texts)
        return True

    def expect(self, text: str) -> None:
        """Raises AwsError where the next word is another one."""
        if not self.take(text):
            raise self.unexpected(f"{text!r}")

    def name(self) -> str:
        """Take a field's name. Raises AwsError."""
        if self.token.kind != "name":
            raise self.unexpected("the name of a field")
        return self.next().text.strip("`")

    def since(self, start: int) -> str:
        """The text from there to the next word."""
        return self.text[start : self.token.start].strip()

    def unexpected(self, wanted: str) -> AwsError:
        """The error that names the next word."""
        found = repr(self.token.text) if self.token.kind != "end" else "the end of the query"
        return malformed(f"{found} at position {self.token.start + 1} of the query, where {wanted} was expected")
