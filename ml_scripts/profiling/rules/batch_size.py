"""AWS: the batch is too small for the GPU: neither it, nor its memory, nor the CPUs have enough to do.

On a CPU, which is never too large for a batch, it is too small where the optimiser and the exchange, which take the
same time whatever the batch, are more than ``fixed_percent`` of a step, and steps are more than ``least_percent`` of
the work. Both are this project's; a ``fixed_percent`` of 0 leaves it out.
"""

from profiling.recorded import Profile
from profiling.rule import Issue, NotApplicable, gpu_samples, percentile, profiler_rule, worked

NAME = "BatchSize"
FIXED = ("optimiser", "exchange")


@profiler_rule(
    NAME,
    cpu_threshold_p95=70.0,
    gpu_threshold_p95=70.0,
    gpu_memory_threshold_p95=70.0,
    patience=1000,
    window=500,
    fixed_percent=0.0,
    least_percent=0.0,
    here={"patience": 20, "fixed_percent": 40.0, "least_percent": 30.0},
    advice="take a larger batch, or a smaller instance",
)
def check(
    seen: Profile,
    cpu_threshold_p95: float,
    gpu_threshold_p95: float,
    gpu_memory_threshold_p95: float,
    patience: int,
    window: int,
    fixed_percent: float,
    least_percent: float,
) -> Issue | None:
    """Whether a larger batch would cost little more."""
    steps = max(len(rank.durations) for rank in worked(seen))
    if not any(host.gpus for host in seen.hosts):
        return _fixed(seen, fixed_percent, least_percent, steps)
    limits = {"cpu": cpu_threshold_p95, "gpu": gpu_threshold_p95, "gpu_memory": gpu_memory_threshold_p95}
    for host in gpu_samples(seen, patience):
        used = {name: percentile(host.column(name, patience)[-window:], 95) for name in limits}
        if all(used[name] < limit for name, limit in limits.items()):
            return Issue(
                f"with a batch of {seen.batch_size}, {host.name} has 95 % of the time at most {used['cpu']:.3g} % of "
                f"its CPUs, {used['gpu']:.3g} % of its GPUs and {used['gpu_memory']:.3g} % of their memory in use",
                used["gpu"],
                gpu_threshold_p95,
                steps,
            )
    return None


def _fixed(seen: Profile, fixed_percent: float, least_percent: float, steps: int) -> Issue | None:
    if not fixed_percent:
        raise NotApplicable("there is no GPU")
    if not all(rank.in_steps for rank in worked(seen)):
        raise NotApplicable("no step was taken")
    # That of the slowest process: the others wait for it during the exchange.
    rank = min(worked(seen), key=lambda each: sum(each.in_steps.get(name, 0.0) for name in FIXED))
    in_steps = sum(rank.in_steps.values())
    fixed = 100 * sum(rank.in_steps.get(name, 0.0) for name in FIXED) / in_steps
    if fixed <= fixed_percent or 100 * in_steps <= least_percent * rank.work:
        return None
    return Issue(
        f"with a batch of {seen.batch_size}, {fixed:.3g} % of each step go into what takes the same time whatever the "
        "batch (the optimiser, the exchange between processes)",
        fixed,
        fixed_percent,
        steps,
    )
