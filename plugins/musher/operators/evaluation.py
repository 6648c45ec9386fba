"""The model in service, measured on the test pictures of a new one."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from musher import names, record, request_parameters
from musher.config import TrainingConfig
from musher.hooks import registry
from musher.hooks.in_service import InService, NotToBeTold, in_service
from musher.job_output import JobOutputError, read_evaluation, summary
from musher.names import Run
from musher.operators.base import plainly
from musher.operators.diagnosing import output_of
from musher.operators.sagemaker_job import START_SECONDS, SageMakerJobOperator
from musher.request_parameters import Inputs

if TYPE_CHECKING:
    from airflow.sdk import Context


class EvaluateInServiceOperator(SageMakerJobOperator):
    """Measure the model that the endpoint serves on this run's test pictures; None when nothing is deployed.

    Its own figure is taken where it was measured on the very same data set, so no job is needed then, nor for a model
    that knows other classes: the quality gate does not compare the two. A model that somebody else registered or
    deployed is measured as well; where that cannot be, `{"left_out": reason}` comes instead, and the run goes on.
    """

    step = names.EVALUATE_IN_SERVICE
    template_fields = aws_template_fields("inputs", "dataset")

    def __init__(self, *, dataset: Mapping[str, Any] | Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset

    @plainly
    def execute(self, context: Context) -> dict[str, Any] | None:
        try:
            serving = self.serving
        except NotToBeTold as reason:
            return self._left_out(str(reason))
        if serving is None:
            self.log.info("Nothing is in service: there is nothing to compare with")
            return None
        self.log.info("The model in service is %s (%s)", serving.arn or serving.model, serving.model_data)
        measured = registry.evaluation(self.client("s3"), serving.package or {})
        known = serving.properties.get("dataset_version")
        if measured and (known == self.dataset["version"] or measured.classes != self.dataset["classes"]):
            self.log.info("Its figure of when it was trained is taken")
            return self._answer(measured)
        return super().execute(context)

    @functools.cached_property
    def serving(self) -> InService | None:
        """What is in service now. Raises NotToBeTold."""
        return in_service(self.client("sagemaker"), names.Stack(self.environment.project).endpoint)

    def longest_seconds(self, config: TrainingConfig) -> float:
        return config.max_runtime_seconds + START_SECONDS

    def request(self, config: TrainingConfig, run: Run, name: str) -> dict[str, Any]:
        return request_parameters.evaluation_job(
            config,
            self.environment,
            name=name,
            run=run,
            inputs=Inputs(**self.inputs),
            model_data=self.serving.model_data,
        )

    def finish(self, context: Context, config: TrainingConfig, found: Mapping[str, Any]) -> dict[str, Any]:
        measured = next(each for each in found["InputDataConfig"] if each["ChannelName"] == "model")
        if not self._still_serves(measured["DataSource"]["S3DataSource"]["S3Uri"]):
            return self._left_out("it was taken out of service while it was measured")
        try:
            return self._answer(read_evaluation(self.client("s3"), output_of(found)))
        except JobOutputError as error:
            if self._ours:
                raise
            return self._left_out(str(error))

    def failed(self, sentence: str) -> dict[str, Any]:
        return super().failed(sentence) if self._ours else self._left_out(sentence)

    @property
    def _ours(self) -> bool:
        """One of ours can be measured, and has to be; whatever somebody else deployed must not end the training."""
        try:
            return self.serving is not None and self.serving.ours
        except NotToBeTold:
            return False

    def _still_serves(self, model_data: str) -> bool:
        try:
            return self.serving is not None and self.serving.model_data == model_data
        except NotToBeTold:
            return False

    def _answer(self, evaluation: record.Evaluation) -> dict[str, Any]:
        return {"package_arn": self.serving.arn, **summary(evaluation)}

    def _left_out(self, reason: str) -> dict[str, Any]:
        self.log.warning("The model in service is left out of the comparison: %s", reason)
        return {"left_out": reason.rstrip(".")}
