"""AWS: the GPU waits while the CPUs wait for a disk, in more than ``threshold`` percent of the samples.

This project's ``reading_percent`` looks at the processes themselves, with or without a GPU: which part of their work
is waiting for files. 0 leaves it out.
"""

from profiling.recorded import DATA, Profile
from profiling.rule import Issue, NotApplicable, gpu_samples, profiler_rule, worked

NAME = "IOBottleneck"


@profiler_rule(
    NAME,
    threshold=50.0,
    gpu_threshold=10.0,
    io_threshold=50.0,
    patience=1000,
    reading_percent=0.0,
    here={"patience": 20, "reading_percent": 25.0},
    advice="put the pictures on faster storage, or read more of them at a time",
)
def check(
    seen: Profile,
    threshold: float,
    gpu_threshold: float,
    io_threshold: float,
    patience: int,
    reading_percent: float,
) -> Issue | None:
    """Whether files hold up the training."""
    ranks = worked(seen)
    if reading_percent:
        rank = max(ranks, key=lambda each: each.of(*DATA) * each.reading_share / each.work)
        waits = 100 * rank.of(*DATA) * rank.reading_share / rank.work
        if waits > reading_percent:
            return Issue(
                f"process {rank.rank} on {rank.host} waits for files {waits:.3g} % of its time",
                waits,
                reading_percent,
                len(rank.durations),
            )
    try:
        hosts = gpu_samples(seen, patience)
    except NotApplicable:
        if reading_percent:
            return None
        raise
    for host in hosts:
        pairs = list(zip(host.column("gpu", patience), host.column("io_wait", patience), strict=True))
        share = 100 * sum(gpu < gpu_threshold and waits > io_threshold for gpu, waits in pairs) / len(pairs)
        if share > threshold:
            return Issue(
                f"in {share:.3g} % of the samples of {host.name} its GPUs were used less than {gpu_threshold:g} % "
                f"while its CPUs waited for a disk more than {io_threshold:g} %",
                share,
                threshold,
                0,
            )
    return None
