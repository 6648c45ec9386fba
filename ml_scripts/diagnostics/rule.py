"""What a rule is: a function over recorded statistics, with a name and parameters.

A module of ``diagnostics/rules/`` that decorates a function with :func:`rule` is found and evaluated; nothing else has
to know of it. docs/diagnostics.md shows one of one's own.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from diagnostics.statistics import Statistics

Value = float | int | bool


@dataclass(frozen=True)
class Issue:
    """What a rule found: ``value`` is beyond ``threshold``, first seen at ``step``; ``sentence`` says it in words."""

    sentence: str
    value: float
    threshold: float
    step: int


class NotApplicable(Exception):
    """There is nothing in this training that the rule could look at; the text says why."""


@dataclass(frozen=True)
class Rule:
    """A rule and its parameters.

    ``aws`` are the parameters as AWS documents them, ``here`` what differs in this project's default. ``advice`` is
    what to do about an issue. ``of_aws`` is whether AWS has a rule of this name.
    """

    name: str
    check: Callable[..., Issue | None]
    aws: dict[str, Value]
    here: dict[str, Value]
    advice: str
    of_aws: bool

    @property
    def defaults(self) -> dict[str, Value]:
        """The parameters unless somebody gives others."""
        return self.aws | self.here


_FOUND: dict[str, Rule] = {}


def rule(name: str, *, advice: str, here: dict[str, Value] | None = None, of_aws: bool = False, **aws: Value):
    """Make a function ``check(seen: Statistics, **parameters) -> Issue | None`` a rule; parameters with defaults.

    The function returns None where all is well, and raises :class:`NotApplicable` where it has nothing to look at.
    """

    def register(check: Callable[..., Issue | None]) -> Callable[..., Issue | None]:
        _FOUND[name] = Rule(name, check, aws, here or {}, advice, of_aws)
        return check

    return register


def known_rules() -> dict[str, Rule]:
    """Every rule in ``diagnostics/rules/``, by name."""
    from diagnostics import rules

    return found_in(rules, _FOUND)


def found_in(package: ModuleType, found: dict[str, Rule]) -> dict[str, Rule]:
    """What the files of a package have registered in ``found``, by name."""
    _import_all(package)
    return dict(sorted(found.items()))


@functools.cache
def _import_all(package: ModuleType) -> None:
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def counted(count: int, what: str) -> str:
    """So many of something whose plural has an s: ``1 step``, ``2 steps``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def were(count: int, what: str) -> str:
    """The beginning of a sentence on so many of something: ``1 step was``, ``2 steps were``."""
    return f"{counted(count, what)} {'was' if count == 1 else 'were'}"


def samples(seen: Statistics):
    """The sampled steps. Raises :class:`NotApplicable` if there is none."""
    if not seen.samples:
        raise NotApplicable("no step was recorded")
    return seen.samples


def layers(seen: Statistics, *kinds: str) -> None:
    """Raise :class:`NotApplicable` unless activation functions of one of these kinds are in what is trained."""
    if not any(each.kind in kinds for sample in samples(seen) for each in sample.activations):
        part = "the head, which alone is trained," if seen.trained == "head" else "the network"
        raise NotApplicable(f"{part} has no {' and no '.join(kinds)}")
