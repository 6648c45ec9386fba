"""From trained candidates to a registered model: evaluation, quality gate, registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from musher import quality, record, request_parameters
from musher.errors import UserError
from musher.hooks import registry
from musher.job_output import (
    EVALUATION,
    look_into,
    read_evaluation,
    read_predictions,
    summary,
)
from musher.operators.base import MusherOperator, plainly, run_of, training_config
from musher.operators.profiling import record_profiles

if TYPE_CHECKING:
    from airflow.sdk import Context


class EvaluateCandidatesOperator(MusherOperator):
    """Choose the trained model with the lowest validation loss; returns its job, with what the test set says of it.

    Parameters: `candidates` what the TrainOperators returned, None for one that was skipped. Writes the parts
    `training` and `evaluation`, and as far as the jobs wrote them `predictions`, what the chosen one's evaluation said
    of each picture, and `profile`, where the time of each job went.
    """

    template_fields = aws_template_fields("candidates")

    def __init__(self, *, candidates: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.candidates = candidates

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, run, s3 = training_config(context), run_of(context), self.client("s3")
        jobs = [record.TrainingJob.from_json(each, "a candidate") for each in self.candidates if each]
        evaluations = {each.job: read_evaluation(s3, each.output_data) for each in jobs}
        jobs = [each.replace(**_validation(each.job, evaluations[each.job])) for each in jobs]
        chosen = quality.best_validated(evaluations)
        best, evaluation = next(each for each in jobs if each.job == chosen), evaluations[chosen]
        self.write_part(run.key, record.Training(jobs=jobs, chosen=chosen, instance_count=config.instance_count))
        self.write_part(run.key, evaluation)
        if predictions := read_predictions(s3, best.output_data):
            self.write_part(run.key, predictions)
        record_profiles(self, run.key, {each.job: each.output_data for each in jobs})
        for name, each in evaluations.items():
            self.log.info("%s: validation loss %.4f", name, each.validation.loss)
        self.log.info("%s is chosen; its test accuracy is %.4f", chosen, evaluation.accuracy)
        return {**best.to_json(), **summary(evaluation)}


def _validation(job: str, evaluation: record.Evaluation) -> dict[str, float]:
    """What a training job reached on the validation set, as its entry of the run record has it."""
    if evaluation.validation is None:
        raise UserError(f"The training job {job} wrote no validation loss, as older scripts do: start a new run.")
    return {"valid_loss": evaluation.validation.loss, "valid_accuracy": evaluation.validation.accuracy}


class RegisterModelOperator(MusherOperator):
    """Pass the quality gate or not, and register the model as Approved or Rejected with the reason.

    Parameters: `candidate` what EvaluateCandidatesOperator returned; `in_service` what EvaluateInServiceOperator
    returned; `dataset` what SyncDatasetOperator returned. Returns `{package_arn, accepted, reason}`.
    """

    template_fields = aws_template_fields("candidate", "in_service", "dataset")

    def __init__(self, *, candidate: Any, in_service: Any, dataset: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.candidate = candidate
        self.in_service = in_service
        self.dataset = dataset

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, env, run = training_config(context), self.environment, run_of(context)
        candidate: Mapping[str, Any] = self.candidate
        decision = quality.quality_gate(candidate, self.in_service, config)
        accepted, reason = decision["accepted"], decision["reason"]
        s3 = self.client("s3")
        digest, network = look_into(s3, candidate["model_data"])
        request = request_parameters.model_package(
            env,
            run,
            model_data=candidate["model_data"],
            accepted=accepted,
            reason=reason,
            properties={
                "job": candidate["job"],
                "dataset_version": self.dataset["version"],
                "dataset_uri": self.dataset["uri"],
                "test_accuracy": f"{candidate['accuracy']:.6f}",
                "sha256": digest,
                **network,
            },
            evaluation=env.uri("runs", run.key, EVALUATION),
        )
        sagemaker = self.client("sagemaker")
        arn = registry.register(sagemaker, request, request_parameters.model_package_group(env, run))
        sagemaker.update_model_package(**request_parameters.model_approval(arn, accepted=accepted, reason=reason))
        part = record.Model(
            package_arn=arn,
            status="Approved" if accepted else "Rejected",
            reason=reason,
            sha256=digest,
            job=candidate["job"],
            test_accuracy=candidate["accuracy"],
            labels=candidate["classes"],
            compared_with=None if "left_out" in (self.in_service or {}) else self.in_service,
        )
        self.write_part(run.key, part)
        self.log.info("Registered %s as %s: %s", arn, part.status, reason)
        return {"package_arn": arn, "accepted": accepted, "reason": reason}


class ReleaseModelOperator(MusherOperator):
    """Announce an approved model, so that it is deployed; a rejected one is skipped, and the run stays green.

    Parameters: `registered` what RegisterModelOperator returned. Its outlet is the asset of registered models.
    """

    template_fields = aws_template_fields("registered")

    def __init__(self, *, registered: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.registered = registered

    def execute(self, context: Context) -> str:
        if not self.registered["accepted"]:
            raise AirflowSkipException(f"Not deployed: {self.registered['reason']}")
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {"model_package_arn": self.registered["package_arn"]}
        return self.registered["package_arn"]
