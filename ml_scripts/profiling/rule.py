"""What a rule of the profiler is: as those of the diagnostics, but a function over a profile."""

from collections.abc import Callable

from diagnostics.rule import Issue, NotApplicable, Rule, Value, found_in

from profiling.recorded import Host, Profile, Rank

__all__ = ["Issue", "NotApplicable", "gpu_samples", "known_rules", "percentile", "profiler_rule", "worked"]

_FOUND: dict[str, Rule] = {}


def profiler_rule(name: str, *, advice: str, here: dict[str, Value] | None = None, of_aws: bool = True, **aws: Value):
    """Make a function ``check(seen: Profile, **parameters) -> Issue | None`` a rule; parameters with AWS's defaults.

    ``here`` are those that this project has otherwise. The function returns None where all is well, and raises
    :class:`NotApplicable` where it has nothing to look at.
    """

    def register(check: Callable[..., Issue | None]) -> Callable[..., Issue | None]:
        _FOUND[name] = Rule(name, check, aws, here or {}, advice, of_aws)
        return check

    return register


def known_rules() -> dict[str, Rule]:
    """Every rule in ``profiling/rules/``, by name."""
    from profiling import rules

    return found_in(rules, _FOUND)


def worked(seen: Profile) -> list[Rank]:
    """The processes. Raises :class:`NotApplicable` if none has come to its work."""
    ranks = [rank for rank in seen.ranks if rank.work > 0]
    if not ranks:
        raise NotApplicable("the training did not come to its first picture")
    return ranks


def gpu_samples(seen: Profile, patience: int) -> list[Host]:
    """The instances with a GPU, of which more than ``patience`` samples are there. Raises :class:`NotApplicable`."""
    if not any(host.gpus for host in seen.hosts):
        raise NotApplicable("there is no GPU" if seen.hosts else "the instances were not sampled")
    if not seen.gpus:
        raise NotApplicable("nothing tells what the GPU does: nvidia-ml-py is not installed")
    found = [host for host in seen.gpus if len(host.column("gpu")) > patience]
    if not found:
        most = max(len(host.column("gpu")) for host in seen.gpus)
        raise NotApplicable(f"there are {most} samples, and the first {patience} are left out")
    return found


def percentile(values: list[float], percent: float) -> float:
    """The value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))]
