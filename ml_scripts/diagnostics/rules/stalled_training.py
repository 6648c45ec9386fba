"""AWS: there was no progress for ``threshold`` seconds.

AWS looks for new tensors from outside, and has ``stop_training_on_fire`` and ``training_job_name_prefix`` for the job
that is to be stopped; here the training watches itself, and the action ``stop`` ends it.
"""

from diagnostics.rule import Issue, rule
from diagnostics.statistics import Statistics

NAME = "StalledTrainingRule"


@rule(
    NAME,
    of_aws=True,
    threshold=1800.0,
    advice="look at what the training waits for: the data's storage, or another process",
)
def check(seen: Statistics, threshold: float) -> Issue | None:
    """Whether nothing moved for too long."""
    if seen.idle_seconds < threshold:
        return None
    return Issue(
        f"no batch was finished for {seen.idle_seconds:.4g} s, {threshold:g} s are allowed",
        seen.idle_seconds,
        threshold,
        seen.step,
    )
