"""A host's words as a task's log may show them: no escape sequence works there, and no line looks like two."""

from __future__ import annotations

LONGEST_LINE = 4000
# A script that prints without end must not fill the disk that Airflow's logs are on.
MOST_SHOWN_BYTES = 20 * 2**20


def printable(said: bytes) -> str:
    """One line of a log, without its end: what would move a terminal's cursor, colour it, turn the direction of the
    text or start another line stands there as its escape (`\\x1b`).

    Of a line that was overwritten (a progress bar's carriage returns), what a terminal shows in the end is kept; of a
    line of more than LONGEST_LINE characters, its beginning.
    """
    text = said.decode(errors="replace").rstrip("\r").rsplit("\r", 1)[-1].replace("\t", " ")
    if len(text) > LONGEST_LINE:
        text = f"{text[:LONGEST_LINE]}... ({len(text) - LONGEST_LINE} characters more)"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
