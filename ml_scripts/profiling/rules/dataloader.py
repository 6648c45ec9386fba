"""AWS: the threads that load data are fewer than ``min_threshold`` or more than ``max_threshold`` percent of the cores.

Whether that matters is said by how long a process waits for them: this project's ``decoding_percent`` of its work. 0 as
a limit leaves it out.
"""

from profiling.recorded import DATA, Profile
from profiling.rule import Issue, profiler_rule, worked

NAME = "Dataloader"


@profiler_rule(
    NAME,
    min_threshold=70.0,
    max_threshold=200.0,
    decoding_percent=0.0,
    here={"min_threshold": 0.0, "max_threshold": 0.0, "decoding_percent": 60.0},
    advice="decode on more threads, or store smaller pictures",
)
def check(seen: Profile, min_threshold: float, max_threshold: float, decoding_percent: float) -> Issue | None:
    """Whether decoding holds up the training, or has an unusual number of threads."""
    ranks = worked(seen)
    if decoding_percent:
        rank = max(ranks, key=lambda each: each.of(*DATA) * (1 - each.reading_share) / each.work)
        waits = 100 * rank.of(*DATA) * (1 - rank.reading_share) / rank.work
        if waits > decoding_percent:
            return Issue(
                f"process {rank.rank} on {rank.host} waits for pictures to be decoded {waits:.3g} % of its time",
                waits,
                decoding_percent,
                len(rank.durations),
            )
    cores = {host.name: host.cores for host in seen.hosts}
    for rank in ranks:
        on_host = sum(each.workers for each in ranks if each.host == rank.host)
        percent = 100 * on_host / cores.get(rank.host, rank.threads)
        if min_threshold and percent < min_threshold:
            return Issue(_sentence(rank.host, on_host, percent), percent, min_threshold, 0)
        if max_threshold and percent > max_threshold:
            return Issue(_sentence(rank.host, on_host, percent), percent, max_threshold, 0)
    return None


def _sentence(host: str, workers: int, percent: float) -> str:
    return f"the {workers} threads that decode on {host} are {percent:.3g} % of its cores"
