"""AWS: the GPU waits while the CPUs are busy, in more than ``threshold`` percent of the samples."""

from profiling.recorded import Profile
from profiling.rule import Issue, gpu_samples, profiler_rule, worked


@profiler_rule(
    "CPUBottleneck",
    threshold=50.0,
    gpu_threshold=10.0,
    cpu_threshold=90.0,
    patience=1000,
    here={"patience": 20},
    advice="take an instance with more CPUs for each GPU, or give the CPUs less to decode",
)
def check(seen: Profile, threshold: float, gpu_threshold: float, cpu_threshold: float, patience: int) -> Issue | None:
    """Whether the CPUs hold up the GPU."""
    worked(seen)
    for host in gpu_samples(seen, patience):
        pairs = list(zip(host.column("gpu", patience), host.column("cpu", patience), strict=True))
        share = 100 * sum(gpu < gpu_threshold and cpu > cpu_threshold for gpu, cpu in pairs) / len(pairs)
        if share > threshold:
            return Issue(
                f"in {share:.3g} % of the samples of {host.name} its GPUs were used less than {gpu_threshold:g} % "
                f"while its CPUs were more than {cpu_threshold:g} %",
                share,
                threshold,
                0,
            )
    return None
