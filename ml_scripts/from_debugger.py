"""What a request asks of SageMaker Debugger's rules, as hyperparameters of train.py.

    python from_debugger.py request.json

``request.json`` is a CreateTrainingJob request, or what of it SageMaker's SDK makes of ``rule_configs``:
DebugRuleConfigurations, ProfilerRuleConfigurations and ProfilerConfig. SageMaker hands their RuleParameters to
Debugger's own rules and to no training script, so that they have to come to train.py as hyperparameters. Prints those
as JSON, and on stderr one sentence for each thing that has no counterpart. The rules that it names are evaluated with
AWS's parameters, as there, and no others.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diagnostics import rule as diagnostics_rule
from diagnostics.choice import choose_from
from diagnostics.rule import Rule
from errors import UserError, run
from profiling import rule as profiling_rule
from profiling.choice import choose_profile

# What a rule is told besides its parameters: which it is, what follows, and how often files are looked at.
RULE, ACTIONS, NO_PARAMETERS = "rule_to_invoke", "action_json", {"rule_to_invoke", "action_json", "scan_interval_us"}
REPORT = "ProfilerReport"


@dataclass
class Asked:
    """What train.py is to be told; ``left_out`` has a sentence for whatever it cannot be."""

    hyperparameters: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def read(request: Mapping[str, Any]) -> Asked:
    """What a request asks for. Raises UserError for a rule's parameter of another kind, naming it."""
    asked = Asked()
    if "DebugRuleConfigurations" in request:
        words = _words(request["DebugRuleConfigurations"], diagnostics_rule.known_rules(), asked, stops=True)
        asked.hyperparameters["rules"] = ",".join(["none", *words])
        choose_from(diagnostics_rule.known_rules(), "none", words)
    profiler = request.get("ProfilerConfig") or {}
    if profiler.get("DisableProfiler"):
        asked.hyperparameters["profile"] = "none"
    elif "ProfilerRuleConfigurations" in request or profiler.get("ProfilingIntervalInMilliseconds"):
        asked.hyperparameters["profile"] = _profile(request, profiler, asked)
        choose_profile(asked.hyperparameters["profile"])
    return asked


def _profile(request: Mapping[str, Any], profiler: Mapping[str, Any], asked: Asked) -> str:
    known, base, configurations = profiling_rule.known_rules(), "none", []
    parts = ["steps", f"system:{profiler.get('ProfilingIntervalInMilliseconds') or 500}"]
    for each in request.get("ProfilerRuleConfigurations") or ():
        given = each.get("RuleParameters") or {}
        if given.get(RULE) != REPORT:
            configurations.append(each)
            continue
        # The report runs all rules; its parameters are theirs, as <rule>_<parameter>.
        base = "aws"
        for name, value in given.items():
            rule, _, parameter = name.partition("_")
            if name not in NO_PARAMETERS:
                configurations.append({"RuleParameters": {RULE: rule, parameter: value}})
    return ",".join([base, *parts, *_words(configurations, known, asked, stops=False)])


def _words(
    configurations: list[Mapping[str, Any]], known: Mapping[str, Rule], asked: Asked, *, stops: bool
) -> list[str]:
    """One word a rule, as ``--rules`` and ``--profile`` have them."""
    told: dict[str, dict[str, str]] = {}
    stopping = set()
    for each in configurations:
        given = each.get("RuleParameters") or {}
        name = given.get(RULE, "")
        if name not in known:
            asked.left_out.append(f"{name or 'A rule without rule_to_invoke'} has no counterpart.")
            continue
        rule, parameters = known[name], told.setdefault(name, {})
        parameters |= {key: _text(value) for key, value in rule.aws.items() if key not in parameters}
        for parameter, value in given.items():
            if parameter in rule.aws:
                parameters[parameter] = value.strip()
            elif parameter not in NO_PARAMETERS:
                asked.left_out.append(f"{name}: {parameter} ({value}) has no counterpart: what is recorded is fixed.")
        for action in _actions(name, given):
            if stops and action.get("name") == "stoptraining":
                stopping.add(name)
            else:
                asked.left_out.append(
                    f"{name}: the action {action.get('name')} is Airflow's here: on_issue of train_image_classifier."
                )
    return [
        ":".join([name, *(["stop"] if name in stopping else []), *(f"{key}={value}" for key, value in each.items())])
        for name, each in told.items()
    ]


def _actions(rule: str, given: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """A rule's actions; the SDK puts a backslash before each quote."""
    try:
        found = json.loads((given.get(ACTIONS) or "[]").replace('\\"', '"'))
    except ValueError:
        raise UserError(f"{rule} has an action_json that is no JSON: {given[ACTIONS]!r}") from None
    return found if isinstance(found, list) else [found]


def _text(value: float | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.12g}"


def main(argv: list[str]) -> None:
    """Print the hyperparameters, and on stderr what is left out."""
    if len(argv) != 1:
        raise UserError("one file is expected: a CreateTrainingJob request in JSON")
    try:
        request = json.loads(Path(argv[0]).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{argv[0]} cannot be read as JSON: {error}") from None
    if not isinstance(request, dict):
        raise UserError(f"{argv[0]} holds no request: it must be a JSON object")
    asked = read(request)
    for sentence in asked.left_out:
        print(sentence, file=sys.stderr)
    print(json.dumps(asked.hyperparameters, indent=1))


if __name__ == "__main__":
    run(main)
