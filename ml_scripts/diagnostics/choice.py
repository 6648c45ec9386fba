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
    words = [word.strip() for word in text.split(",") if word.strip()]
    base = words.pop(0) if words and words[0] in BASES else "default"
    return choose_from(known_rules(), base, words)


def choose_from(
    known: dict[str, Rule],
    base: str,
    words: list[str],
    flag: str = "--rules",
    actions: tuple[str, ...] = ACTIONS,
    besides: tuple[str, ...] = (),
) -> list[Chosen]:
    """The rules of ``known`` that ``base`` and the words after it ask for, by name.

    ``flag`` is where they were given, ``besides`` what else may stand there, for messages. Raises UserError.
    """
    chosen: dict[str, Chosen] = {}
    if base == "default":
        chosen = {name: Chosen(rule, "report", rule.defaults) for name, rule in known.items()}
    elif base == "aws":
        chosen = {name: Chosen(rule, "report", rule.aws) for name, rule in known.items() if rule.of_aws}
    for word in words:
        name, *settings = word.split(":")
        if name not in known:
            names = ", ".join((*besides, *known))
            raise UserError(f"{flag} names {name!r}; it must be one of {names}, or first {_or(BASES)}")
        rule = known[name]
        given = chosen.get(name) or Chosen(rule, "report", rule.aws if base == "aws" else rule.defaults)
        chosen[name] = _set(given, settings, flag, actions)
    return [each for _, each in sorted(chosen.items()) if each.action != "off"]


def _set(given: Chosen, settings: list[str], flag: str, actions: tuple[str, ...]) -> Chosen:
    """A rule with what stands behind its colons."""
    name, action, parameters = given.rule.name, given.action, dict(given.parameters)
    for setting in settings:
        if setting in actions:
            action = setting
            continue
        parameter, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"{flag} has {setting!r} for {name}; it must be {_or(actions)}, or a parameter=value")
        if parameter not in parameters:
            raise UserError(
                f"{flag} has the parameter {parameter!r} for {name}; "
                f"it must be one of {', '.join(parameters) or 'none'}"
            )
        parameters[parameter] = _value(flag, name, parameter, value, parameters[parameter])
    return Chosen(given.rule, action, parameters)


def _value(flag: str, rule: str, parameter: str, text: str, like: Value) -> Value:
    """The text as a value of the kind that the parameter has."""
    if isinstance(like, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UserError(f"{flag} has {rule}:{parameter}={text}; it must be true or false")
    try:
        value = type(like)(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        kind = "an integer" if isinstance(like, int) else "a number"
        raise UserError(f"{flag} has {rule}:{parameter}={text}; it must be {kind}")
    return value


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def measures(chosen: list[Chosen]) -> tuple[dict[str, tuple[float, float]], tuple[float, float]]:
    """What rules have as parameters and the recorder needs: where an activation function is active, and within which
    relative and absolute tolerance a number has not changed."""
    given = {each.rule.name: each.parameters for each in chosen}
    known = known_rules()
    saturated = given.get("SaturatedActivation", known["SaturatedActivation"].defaults)
    still = given.get("UnchangedTensor", known["UnchangedTensor"].defaults)
    limits = {
        kind: (saturated[f"threshold_{kind}_min"], saturated[f"threshold_{kind}_max"]) for kind in ("tanh", "sigmoid")
    }
    return {"ReLU": (0.0, math.inf), **limits}, (still["rtol"], still["atol"])
