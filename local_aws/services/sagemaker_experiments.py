"""The lists of SageMaker's experiments, which moto keeps: by time and in order, of which its own lists know nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.backends import get_backend

from local_aws.services.base import Call, Service, page
from local_aws.services.listing import chosen


class SageMakerExperiments(Service):
    """Source: SageMaker API reference, ListExperiments, ListTrials and ListTrialComponents."""

    name = "sagemaker"

    def list_experiments(self, call: Call) -> dict[str, Any]:
        return _page(call, "Experiment", "experiment_name", self._moto(call).experiments.values())

    def list_trials(self, call: Call) -> dict[str, Any]:
        experiment, component = call.params.get("ExperimentName"), call.params.get("TrialComponentName")
        found = [
            each
            for each in self._moto(call).trials.values()
            if experiment in (None, each.experiment_name) and (component is None or component in each.trial_components)
        ]
        return _page(call, "Trial", "trial_name", found)

    def list_trial_components(self, call: Call) -> dict[str, Any]:
        moto, experiment, trial = self._moto(call), call.params.get("ExperimentName"), call.params.get("TrialName")
        trials = {each.trial_name for each in moto.trials.values() if experiment in (None, each.experiment_name)}
        found = [
            each
            for each in moto.trial_components.values()
            if trial in (None, each.trial_name) and (experiment is None or each.trial_name in trials)
        ]
        return _page(call, "TrialComponent", "trial_component_name", found)

    def _moto(self, call: Call) -> Any:
        return get_backend("sagemaker")[call.account][call.region]


def _page(call: Call, kind: str, named: str, found: Iterable[Any]) -> dict[str, Any]:
    params = call.params
    asked = {"CreationTimeAfter": params.get("CreatedAfter"), "CreationTimeBefore": params.get("CreatedBefore"),
             "SortBy": params.get("SortBy"), "SortOrder": params.get("SortOrder")}  # fmt: skip
    listed = chosen(list(found), asked, name=lambda each: getattr(each, named), created=lambda each: each.creation_time)
    summaries = [
        {
            f"{kind}Name": getattr(each, named), f"{kind}Arn": each.arn,
            "CreationTime": each.creation_time, "LastModifiedTime": each.last_modified_time,
            **({"DisplayName": each.display_name} if getattr(each, "display_name", None) else {}),
        }
        for each in listed
    ]  # fmt: skip
    return page(summaries, call, key=f"{kind}Summaries", default=10)
