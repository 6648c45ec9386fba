"""What operators share about where the time of a training went."""

from __future__ import annotations

from collections.abc import Mapping

from musher import record
from musher.job_output import JobOutputError, read_profile
from musher.operators.base import MusherOperator


def record_profiles(operator: MusherOperator, run_key: str, outputs: Mapping[str, str]) -> None:
    """Add the profiles of trainings to the part `profile` of a run's record, as far as they wrote one.

    Parameters: `outputs` the S3 URI of each one's output.tar.gz, by its name. A profile that cannot be read is no
    reason to fail.
    """
    s3, found = operator.client("s3"), []
    for job, output_data in outputs.items():
        try:
            if profile := read_profile(s3, output_data):
                found.append(profile.replace(job=job))
        except JobOutputError as error:
            operator.log.warning("The record is without the profile of %s: %s", job, error)
    if not found:
        return
    try:
        known = record.read(s3, operator.environment.bucket, run_key, record.Profile)
    except record.RecordError as error:
        operator.log.warning("What was known of other trainings' profiles is written anew: %s", error)
        known = None
    operator.write_part(run_key, (known or record.Profile()).with_jobs(found))
