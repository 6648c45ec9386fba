"""AWS: the memory of the GPU in use grows by more than ``increase`` percent, from one ``window`` of samples to another.

AWS compares neighbouring windows; here the first one after ``patience`` is compared with the last one, since what grows
slowly is what ends a training.
"""

from profiling.recorded import Profile
from profiling.rule import Issue, NotApplicable, gpu_samples, profiler_rule, worked


@profiler_rule(
    "GPUMemoryIncrease",
    increase=5.0,
    patience=1000,
    window=10,
    here={"patience": 60},
    advice="look for tensors that are kept from step to step, such as losses that still have their graph",
)
def check(seen: Profile, increase: float, patience: int, window: int) -> Issue | None:
    """Whether the memory in use grows."""
    worked(seen)
    hosts = [host for host in gpu_samples(seen, patience) if len(host.column("gpu_memory", patience)) >= 2 * window]
    if not hosts:
        raise NotApplicable(f"there are too few samples for two windows of {window} after the first {patience}")
    for host in hosts:
        used = host.column("gpu_memory", patience)
        first, last = sum(used[:window]) / window, sum(used[-window:]) / window
        if first and 100 * (last - first) / first > increase:
            grown = 100 * (last - first) / first
            return Issue(f"the GPU memory in use on {host.name} grew by {grown:.3g} %", grown, increase, 0)
    return None
