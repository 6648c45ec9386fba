"""What the demo releases to the model that serves: one that is as good, and one with shuffled labels.

Both are registered as Approved and neither is rehearsed, so that everyone sees what a release alone is worth: the good
one takes over by a canary, the other one is taken back by the judge. Callers ask the function all the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools import bad_models
from tools.airflow_rest import Airflow
from tools.callers import Callers
from tools.stack import Stack

if TYPE_CHECKING:
    from musher.record import Release, RunRecord

DEPLOY = "deploy_image_classifier"
ENDPOINT, FUNCTION = "musher-image-classifier", "musher-classifier"
CALLS_A_SECOND = 3
PICTURES = 20
# As few answers as the judge takes, and the bake that they need where an AWS minute lasts two seconds; two instances on
# two cores are slower or faster than each other by chance.
PARAMS: dict[str, Any] = {
    "rehearsal": "never",
    "bake_seconds": 900,
    "final_bake_seconds": 30,
    "judge_answers": 100,
    "judge_requests_per_second": 14,
    "slower_allowed": 1.0,
    "less_accurate_allowed": 0.05,
}


@dataclass(frozen=True)
class Outcome:
    """One release as the demo's table has it; `report` where its page is in the bucket, `page` its name here."""

    name: str
    passed: bool
    measured: str
    required: str
    report: str | None
    page: str


class Releases:
    """The demo's two releases, one after the other.

    Parameters: `finish` shows a run of the DAG until it has ended.
    """

    def __init__(
        self, stack: Stack, bucket: str, airflow: Airflow, finish: Callable[[str], None], say: Callable[[str], None]
    ) -> None:
        self.stack, self.bucket, self.airflow, self.finish, self.say = stack, bucket, airflow, finish, say
        self.sagemaker, self.s3 = stack.client("sagemaker"), stack.client("s3")

    def run(self, record: RunRecord) -> list[Outcome]:
        """Release both to what a training run deployed, whose record it is."""
        serves = self.sagemaker.describe_model_package(ModelPackageName=record.model.package_arn)
        archive = bad_models.archive_of(self.s3, serves)
        return [self._good(serves, self._other_model(record) or archive), self._bad(serves, archive)]

    def _other_model(self, record: RunRecord) -> bytes | None:
        """The archive of the model that was trained on the other number of instances, and was not chosen."""
        for job in record.training.jobs if record.training else ():
            if job.job != record.model.job:
                where = f"jobs/{job.job}/output/model.tar.gz"
                return self.s3.get_object(Bucket=self.bucket, Key=where)["Body"].read()
        return None

    def _good(self, serves: dict[str, Any], archive: bytes) -> Outcome:
        self.say(f"Releasing another good model by a canary, while {CALLS_A_SECOND} calls a second come in:")
        callers, part, report = self._release(serves, "another-model", archive)
        failed = sum(each.outcome.status == "failed" for each in callers.samples)
        measured = f"{part.outcome if part else 'no release'}; {failed} of {len(callers.samples)} calls failed"
        passed = bool(part) and part.outcome == "released" and not failed
        return Outcome(
            "a good model takes over by a canary", passed, measured, "released, no call fails", report, "release.html"
        )

    def _bad(self, serves: dict[str, Any], archive: bytes) -> Outcome:
        self.say("Releasing a model whose labels somebody has shuffled; the judge takes it back:")
        before = self._config()
        callers, part, report = self._release(
            serves, bad_models.SHUFFLED.replace(" ", "-"), bad_models.archive(archive, bad_models.SHUFFLED)
        )
        back = part is not None and part.outcome == "rolled back" and self._config() == before
        seconds = part.seconds_to_roll_back if part else None
        measured = (
            f"{part.outcome if part else 'no release'}{f' within {seconds:.0f} s' if seconds else ''}; "
            f"{len(callers.bad)} of {len(callers.samples)} calls got it"
        )
        name = "a model with shuffled labels is taken back"
        return Outcome(name, back, measured, "rolled back, the model before serves", report, "taken-back.html")

    def _release(self, serves: dict[str, Any], name: str, archive: bytes) -> tuple[Callers, Release | None, str | None]:
        from musher import record
        from musher.load.pictures import labelled_pictures

        name = f"demo-{name}-{time.strftime('%H%M%S')}"
        package = bad_models.register(self.sagemaker, self.s3, serves, name, archive)
        uri = (serves.get("CustomerMetadataProperties") or {}).get("dataset_uri")
        pictures = [each.data for each in labelled_pictures(self.s3, None, uri, most=PICTURES)]  # type: ignore[arg-type]
        with Callers(self.stack, FUNCTION, pictures, CALLS_A_SECOND) as callers:
            run = self.airflow.trigger(DEPLOY, {**PARAMS, "model_package_arn": package}, name)
            self.finish(run)
        part = record.read(self.s3, self.bucket, name, record.Release)
        if part is None or part.outcome != "released":
            bad_models.reject(self.sagemaker, package, part.why if part else "Its release did not come to pass.")
        prefix = self.airflow.xcom(DEPLOY, run, "report")
        return callers, part, str(prefix) if prefix else None

    def _config(self) -> str:
        return self.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
