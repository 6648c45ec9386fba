"""How strictly IAM is taken."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What becomes of a call that is not signed as it should be, or that no policy allows."""

    OFF = "off"
    """Nobody looks."""
    AUDIT = "audit"
    """It is carried out; the log and the journal say that it would be denied."""
    ENFORCE = "enforce"
    """It is denied."""
