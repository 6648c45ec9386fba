"""Debugger's part of a training job: the rules that a request asks for, and what becomes of them.

AWS: developer guide, "List of Debugger built-in rules", "Use Debugger built-in actions for rules"; API reference,
DebugRuleConfiguration and DebugRuleEvaluationStatus; smdebug_rulesconfig 1.0.1, by which SageMaker's SDK 2 makes them.

AWS's rules were never open, and nobody evaluates any here. A script can have rules of its own by AWS's names; what it
says of them is what DescribeTrainingJob says. That is the whole contract with a script:

- the line `DiagnosticRule NAME: IssuesFound TEXT` in its output is found at once, and its actions follow;
- `diagnostics.json` in its output data, `{"rules": [{"rule": NAME, "status": STATUS, "status_details": TEXT,
  "parameters": {...}}]}` with AWS's statuses, is what counts at the end.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from local_aws.clock import Clock
from local_aws.errors import validation

DEBUG_RULES = {
    "AllZero", "CheckInputImages", "ClassImbalance", "Confusion", "CreateXgboostReport", "DeadRelu", "ExplodingTensor",
    "FeatureImportanceOverweight", "LossNotDecreasing", "NLPSequenceRatio", "Overfit", "Overtraining",
    "PoorWeightInitialization", "SaturatedActivation", "SimilarAcrossRuns", "StalledTrainingRule", "TensorVariance",
    "TreeDepth", "UnchangedTensor", "VanishingGradient", "WeightUpdateRatio",
}  # fmt: skip
PROFILER_RULES = {
    "BatchSize", "CPUBottleneck", "Dataloader", "GPUMemoryIncrease", "IOBottleneck", "LoadBalancing",
    "LowGPUUtilization", "MaxInitializationTime", "OverallSystemUsage", "ProfilerReport", "StepOutlier",
}  # fmt: skip
KINDS = (("Debug", DEBUG_RULES), ("Profiler", PROFILER_RULES))
IMAGE = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/sagemaker-debugger-rules(:latest)?")
STATUSES = {"NoIssuesFound", "IssuesFound", "Error", "Stopped"}
INTERVALS = (100, 200, 500, 1000, 5000, 60000)
# What a rule is told besides its parameters; how often files are looked at means nothing without files.
NO_PARAMETERS = {"rule_to_invoke", "action_json", "scan_interval_us"}
LINE = re.compile(r"DiagnosticRule (\w+): IssuesFound (.*)")
FILE = "diagnostics.json"
LONGEST_DETAILS = 1024
CLOSED = (
    "Amazon SageMaker Debugger is no longer open to new customers; the local AWS evaluates no rules, and gives what a "
    "script's own say"
)
WITHOUT_MEANING = {
    "CreateXgboostReport": "it reports on trees of XGBoost",
    "FeatureImportanceOverweight": "it is about trees of XGBoost",
    "TreeDepth": "it is about trees of XGBoost",
    "NLPSequenceRatio": "it counts tokens in saved input tensors, and none are saved",
    "SimilarAcrossRuns": "it compares saved tensors of two jobs, and none are saved",
    "TensorVariance": "it looks at saved tensors that the request names, and none are saved",
    "ProfilerReport": "it is the report of all rules, each of which can be asked for itself",
    "OverallSystemUsage": "it finds no issues and only reports: CloudWatch has what each host uses",
}


def check(params: Mapping[str, Any]) -> None:
    """What nobody would carry out here, or AWS refuses. Raises AwsError."""
    names: set[str] = set()
    for kind, known in KINDS:
        for rule in params.get(f"{kind}RuleConfigurations") or ():
            name, given = rule["RuleConfigurationName"], rule.get("RuleParameters") or {}
            where = f"{kind}RuleConfigurations: the rule {name}"
            if name in names:
                raise validation(f"{where} is there twice; names of rules must be unique.")
            names.add(name)
            for member in ("InstanceType", "VolumeSizeInGB", "LocalPath", "S3OutputPath"):
                if rule.get(member):
                    raise validation(f"{where} has {member}; no rule has an instance or an output here. Leave it out.")
            if not IMAGE.fullmatch(rule["RuleEvaluatorImage"]) or "source_s3_uri" in given:
                raise validation(
                    f"{where} has the image {rule['RuleEvaluatorImage']}: the local AWS knows SageMaker's built-in "
                    "rules, of .../sagemaker-debugger-rules:latest, and runs no rules of one's own."
                )
            if given.get("rule_to_invoke") not in known:
                raise validation(
                    f"{where} needs RuleParameters.rule_to_invoke, one of {', '.join(sorted(known))}, not "
                    f"{given.get('rule_to_invoke')}."
                )
            for action in actions(rule):
                if not isinstance(action, dict) or action.get("name") not in {"stoptraining", "email", "sms"}:
                    raise validation(f"{where}: action_json has the action {action}; stoptraining, email and sms are.")
    _check_profiler(params.get("ProfilerConfig") or {})


def _check_profiler(config: Mapping[str, Any]) -> None:
    if config.get("ProfilingParameters"):
        raise validation(
            "ProfilerConfig.ProfilingParameters: SageMaker has deprecated framework profiling from PyTorch 2.0 and "
            "TensorFlow 2.11 on, and the local AWS has none."
        )
    interval = config.get("ProfilingIntervalInMilliseconds")
    if interval is not None and interval not in INTERVALS:
        raise validation(
            f"ProfilerConfig.ProfilingIntervalInMilliseconds must be one of {', '.join(map(str, INTERVALS))}, not "
            f"{interval}."
        )


def actions(rule: Mapping[str, Any]) -> list[Any]:
    """A rule's actions; the SDK puts a backslash before each quote. Raises AwsError for what is no JSON."""
    text = (rule.get("RuleParameters") or {}).get("action_json")
    if not text:
        return []
    try:
        found = json.loads(text.replace('\\"', '"'))
    except ValueError:
        raise validation(f"The rule {rule['RuleConfigurationName']} has an action_json that is no JSON.") from None
    return found if isinstance(found, list) else [found]


class Rules:
    """The rules of one job. Parameters: `request` CreateTrainingJob's; `arn` the job's."""

    def __init__(self, request: Mapping[str, Any], arn: str) -> None:
        self._rules: dict[str, tuple[str, Mapping[str, Any], dict[str, Any]]] = {}
        for kind, _ in KINDS:
            for rule in request.get(f"{kind}RuleConfigurations") or ():
                name = rule["RuleConfigurationName"]
                job = f"{request['TrainingJobName'][:26]}-{name[:26]}-{_digest(arn + name)}"
                status = {
                    "RuleConfigurationName": name,
                    "RuleEvaluationJobArn": f"{arn.rsplit(':', 1)[0]}:processing-job/{job.lower()}",
                    "RuleEvaluationStatus": "InProgress",
                    "LastModifiedTime": Clock.now(),
                }
                self._rules[name] = kind, rule, status

    def describe(self) -> dict[str, list[dict[str, Any]]]:
        """DescribeTrainingJob's members, of the kinds that were asked for; nobody changes them any more."""
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, _, status in self._rules.values():
            found.setdefault(f"{kind}RuleEvaluationStatuses", []).append(dict(status))
        return found

    def hear(self, line: str) -> list[tuple[str, str, Any]]:
        """What follows from a line of a script: (rule's name, what was found, action) for each action."""
        match = LINE.search(line)
        if match is None:
            return []
        follows = []
        for name, (_, rule, status) in self._rules.items():
            if rule["RuleParameters"]["rule_to_invoke"] == match[1] and status["RuleEvaluationStatus"] == "InProgress":
                _set(status, "IssuesFound", match[2])
                follows += [(name, match[2], action) for action in actions(rule)]
        return follows

    def conclude(self, folders: Iterable[Path]) -> list[tuple[str, str, Any]]:
        """Say what has become of each rule, from what the hosts of the job left; as `hear`."""
        said = _read(folders)
        follows = []
        for name, (_, rule, status) in self._rules.items():
            if status["RuleEvaluationStatus"] != "InProgress":
                continue
            what = rule["RuleParameters"]["rule_to_invoke"]
            found, details = _verdict(what, rule["RuleParameters"], said)
            _set(status, found, details)
            if found == "IssuesFound":
                follows += [(name, details, action) for action in actions(rule)]
        return follows


def given_up(extra: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The statuses among a job's further members, when it has ended so that nobody will say anything of them."""
    return {
        name: [
            {**each, "RuleEvaluationStatus": "Stopped", "StatusDetails": why}
            if each["RuleEvaluationStatus"] == "InProgress"
            else each
            for each in statuses
        ]
        for name, statuses in extra.items()
        if name.endswith("RuleEvaluationStatuses")
    }


def _verdict(name: str, asked: Mapping[str, str], said: dict[str, Any] | None) -> tuple[str, str]:
    if said is None:
        why = f"{WITHOUT_MEANING[name]}; besides, " if name in WITHOUT_MEANING else ""
        return "Stopped", f"{CLOSED}: {why}this job left no {FILE}."
    found = said.get(name)
    if found is None:
        return "Stopped", f"{CLOSED}: {WITHOUT_MEANING.get(name, f'{FILE} of this job has no rule of this name')}."
    own = found.get("parameters") or {}
    different = [
        f"{parameter}={value} ({own.get(parameter, 'not there')})"
        for parameter, value in asked.items()
        if parameter not in NO_PARAMETERS and not _same(value, own.get(parameter))
    ]
    status, details = str(found.get("status")), str(found.get("status_details") or "")
    if different:
        return "Stopped", (
            f"It was asked for with {', '.join(different)}, and the script has its own parameters, in brackets: "
            f"RuleParameters are handed to no script, and hyperparameters are. With its own: {status}. {details}"
        )
    if status not in STATUSES:
        return "Error", f"{FILE} of this job gives it the status {status}."
    return status, details


def _read(folders: Iterable[Path]) -> dict[str, Any] | None:
    """The rules of the first host that left any, by name; a script may have written anything."""
    for folder in folders:
        try:
            content = json.loads((folder / FILE).read_bytes())
            return {each["rule"]: each for each in content["rules"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _same(asked: str, own: Any) -> bool:
    try:
        return float(asked) == float(own)
    except (TypeError, ValueError):
        return asked.lower() == str(own).lower()


def _set(status: dict[str, Any], found: str, details: str) -> None:
    status.update(RuleEvaluationStatus=found, LastModifiedTime=Clock.now())
    if details:
        status["StatusDetails"] = details[:LONGEST_DETAILS]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
