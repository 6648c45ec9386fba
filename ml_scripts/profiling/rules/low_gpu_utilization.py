"""AWS: the GPU is used little, or goes up and down: 95 % of its samples are below ``threshold_p95``, and 5 % below
``threshold_p5``.
"""

from profiling.recorded import Profile
from profiling.rule import Issue, gpu_samples, percentile, profiler_rule, worked


@profiler_rule(
    "LowGPUUtilization",
    threshold_p95=70.0,
    threshold_p5=10.0,
    window=500,
    patience=1000,
    here={"patience": 20},
    advice="look at what it waits for, take a larger batch, or an instance without a GPU",
)
def check(seen: Profile, threshold_p95: float, threshold_p5: float, window: int, patience: int) -> Issue | None:
    """Whether there is too little for the GPU to do."""
    worked(seen)
    for host in gpu_samples(seen, patience):
        used = host.column("gpu", patience)[-window:]
        high, low = percentile(used, 95), percentile(used, 5)
        if high < threshold_p95 and low < threshold_p5:
            return Issue(
                f"the GPUs of {host.name} are used at most {high:.3g} % for 95 % of the time, and at most {low:.3g} % "
                "for 5 % of it",
                high,
                threshold_p95,
                0,
            )
    return None
