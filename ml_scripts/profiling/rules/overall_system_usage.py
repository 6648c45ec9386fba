"""AWS: never fires; it says how much of the instances was used."""

from profiling.recorded import Profile
from profiling.rule import Issue, NotApplicable, profiler_rule


@profiler_rule("OverallSystemUsage", advice="")
def check(seen: Profile) -> Issue | None:
    """Never an issue; the report has the figures."""
    if not any(host.samples for host in seen.hosts):
        raise NotApplicable("the instances were not sampled, or not for long enough")
    return None
