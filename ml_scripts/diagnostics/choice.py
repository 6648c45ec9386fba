"""Which rules a training evaluates, with which parameters and what follows, read from the hyperparameter ``rules``.

One text, because SageMaker passes every hyperparameter as a text: ``default``, ``aws`` or ``none``, then, after commas,
rules that differ from that: ``Name``, ``Name:stop``, ``Name:off``, ``Name:threshold=0.5:patience=2``, in any order.
``stop`` fails the job; ``end`` ends the training there and keeps its best epoch, so that the job completes.
No quotes and no blanks, so that a shell and AWS's toolkit, which decodes JSON, leave it as it is.
"""

import math
from dataclasses import dataclass

from errors import UserError

from diagnostics.rule import Rule, Value, known_rules

ACTIONS = ("report", "stop", "end", "off")
BASES = ("default", "aws", "none")


@dataclass(frozen=True)
class Chosen:
    """A rule to be evaluated; ``action`` is ``report``, ``stop`` or ``end``."""

    rule: Rule
    action: str
    parameters: dict[str, Value]


def choose(text: str) -> list[Chosen]:
    """The rules that ``text`` asks for, by name.

    Raises:
        UserError: naming what it does not know, and what there is.
    """
    known = known_rules()
    words = [word.strip() for word in text.split(",") if word.strip()]
    base = words.pop(0) if words and words[0] in BASES else "default"
    chosen: dict[str, Chosen] = {}
    if base == "default":
        chosen = {name: Chosen(rule, "report", rule.defaults) for name, rule in known.items()}
    elif base == "aws":
        chosen = {name: Chosen(rule, "report", rule.aws) for name, rule in known.items() if rule.of_aws}
    for word in words:
        name, *settings = word.split(":")
        if name not in known:
            raise UserError(f"--rules names {name!r}; it must be one of {', '.join(known)}, or first {_or(BASES)}")
        rule = known[name]
        given = chosen.get(name) or Chosen(rule, "report", rule.aws if base == "aws" else rule.defaults)
        action, parameters = given.action, dict(given.parameters)
        for setting in settings:
            if setting in ACTIONS:
                action = setting
                continue
            parameter, equals, value = setting.partition("=")
            if not equals:
                raise UserError(f"--rules has {setting!r} for {name}; it must be {_or(ACTIONS)}, or a parameter=value")
            if parameter not in parameters:
                raise UserError(
                    f"--rules has the parameter {parameter!r} for {name}; "
                    f"it must be one of {', '.join(parameters) or 'none'}"
                )
            parameters[parameter] = _value(name, parameter, value, parameters[parameter])
        chosen[name] = Chosen(rule, action, parameters)
    return [each for _, each in sorted(chosen.items()) if each.action != "off"]


def _value(rule: str, parameter: str, text: str, like: Value) -> Value:
    """The text as a value of the kind that the parameter has."""
    if isinstance(like, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UserError(f"--rules has {rule}:{parameter}={text}; it must be true or false")
    try:
        value = type(like)(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        kind = "an integer" if isinstance(like, int) else "a number"
        raise UserError(f"--rules has {rule}:{parameter}={text}; it must be {kind}")
    return value


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
