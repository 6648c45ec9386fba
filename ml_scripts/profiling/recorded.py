"""What a profile is made of, and all that a rule of the profiler gets to see."""

from array import array
from dataclasses import dataclass, field

# Of one sample of an instance: percent of the CPUs' time in use and idle while a disk was waited for, of this process,
# of the memory in use; megabytes a second.
COLUMNS = (
    "seconds",
    "cpu",
    "io_wait",
    "process",
    "memory",
    "disk_read",
    "disk_written",
    "network_received",
    "network_sent",
)
# The mean of all GPUs, in percent.
GPU_COLUMNS = ("gpu", "gpu_memory")
# What a process does on what it waits for others: the data, and computing with it.
DATA = ("read", "decode", "wait")
COMPUTING = ("features", "forward", "backward", "device", "validation")
WORK = (*DATA, *COMPUTING, "transfer", "exchange", "optimiser", "diagnostics")


@dataclass
class Host:
    """The samples of one instance, ``interval`` seconds apart, by column."""

    name: str
    interval: float
    cores: int
    gpus: int
    samples: dict[str, list[float]]

    def column(self, name: str, after: int = 0) -> list[float]:
        """The samples of one column but the first ``after`` ones."""
        return self.samples.get(name, [])[after:]


@dataclass
class SlowStep:
    """A step that was among the slowest."""

    step: int
    seconds: float
    phases: dict[str, float]


@dataclass
class Rank:
    """The time of one process, in seconds by phase.

    ``phases`` is all of it, ``in_steps`` that of the training steps, whose ``durations`` there are one by one;
    ``device`` what a GPU did in ``device_steps`` of them. ``pictures`` were decoded by ``workers`` threads (0: by the
    main one, whose phases have the time), which spent ``worker_read`` and ``worker_decode`` seconds on it.
    """

    rank: int
    host: str
    device: str
    threads: int
    workers: int
    phases: dict[str, float]
    in_steps: dict[str, float] = field(default_factory=dict)
    durations: array = field(default_factory=lambda: array("d"))
    first_step: int = 0
    slow: list[SlowStep] = field(default_factory=list)
    device_phases: dict[str, float] = field(default_factory=dict)
    device_steps: int = 0
    pictures: int = 0
    worker_read: float = 0.0
    worker_decode: float = 0.0
    peak_memory_mb: float = 0.0

    @property
    def seconds(self) -> float:
        """The whole time."""
        return sum(self.phases.values())

    @property
    def work(self) -> float:
        """The time without initialisation and checkpoints."""
        return self.of(*WORK)

    def of(self, *names: str) -> float:
        """The seconds of some phases together."""
        return sum(self.phases.get(name, 0.0) for name in names)

    @property
    def reading_share(self) -> float:
        """Which share of getting the data is reading files, the rest being decoding."""
        read, decode = self.worker_read + self.of("read"), self.worker_decode + self.of("decode")
        return read / (read + decode) if read + decode else 0.0


@dataclass
class Profile:
    """A training's profile; ``missing`` are the processes that it does not have.

    ``trained`` is ``head`` or ``all``; ``cached`` says that pictures are looked at once, for their features.
    """

    trained: str
    batch_size: int
    ranks: list[Rank]
    hosts: list[Host]
    world: int = 1
    complete: bool = True
    cached: bool = True

    @property
    def missing(self) -> list[int]:
        """The processes whose part is not there."""
        return sorted(set(range(self.world)) - {each.rank for each in self.ranks})

    @property
    def gpus(self) -> list[Host]:
        """The instances with a GPU that told what it does."""
        return [host for host in self.hosts if host.column("gpu")]
