"""The instances of one training on EC2, kept on S3 as they come and go: AWS forgets terminated ones within an hour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from musher import record
from musher.costs import prices
from musher.ec2.host_status import HostStatus


class History:
    """`runs/<run>/ec2_instances.json`, read once and written whenever an instance comes or goes."""

    def __init__(self, s3: Any, bucket: str, run: str) -> None:
        self.s3, self.bucket, self.run = s3, bucket, run
        written = record.read(s3, bucket, run, record.Ec2Instances)
        self.instances: list[record.Ec2Instance] = list(written.instances) if written else []

    @property
    def newest(self) -> str:
        """The instance that was launched last."""
        return self.instances[-1].instance_id

    @property
    def open(self) -> set[str]:
        """The instances whose end is not written down."""
        return {each.instance_id for each in self.instances if each.ended_at is None}

    @property
    def finished(self) -> bool:
        """Whether the training has completed on the last instance."""
        return bool(self.instances) and self.instances[-1].ended_by == "finished"

    @property
    def interruptions(self) -> int:
        return sum(each.ended_by == prices.INTERRUPTION for each in self.instances)

    def begin(self, instance: str, market: str, launched: datetime) -> None:
        """An instance was launched (again: a retry with the same token gets the same one)."""
        if all(each.instance_id != instance for each in self.instances):
            self.instances.append(record.Ec2Instance(instance_id=instance, market=market, launched_at=_iso(launched)))
            self._write()

    def end(self, instance: str, why: str, at: float, reason: str = "") -> None:
        """An instance ended at `at` (Unix seconds), its training for a reason if that failed. Its first end counts."""
        for index, each in enumerate(self.instances):
            if each.instance_id == instance and each.ended_at is None:
                seconds = round(at - datetime.fromisoformat(each.launched_at).timestamp(), 2)
                ended_at = _iso(datetime.fromtimestamp(at, UTC))
                self.instances[index] = each.replace(ended_at=ended_at, seconds=seconds, ended_by=why, reason=reason)
                self._write()

    def facts(self, status: Callable[[str], HostStatus]) -> dict[str, Any]:
        """The part `ec2_training` as far as instances tell; `status` gives a host's last status.json.

        `seconds` all instances together; `wall_seconds` from the first launch to the last end. Of the interrupted
        ones, `seconds_saved` is the training that their checkpoints kept, `seconds_lost` the rest of their lives:
        starting, downloading, and what was done after the last checkpoint.
        """
        saved = lost = 0.0
        for each in self.instances:
            if each.ended_by == prices.INTERRUPTION:
                known = status(each.instance_id)
                began, kept = known.training_started_at, known.checkpoint_at
                # It cannot have trained for longer than it lived, whatever it says.
                part = min(max(0.0, kept - began), each.seconds) if began and kept else 0.0
                saved, lost = saved + part, lost + each.seconds - part
        ends = [datetime.fromisoformat(each.ended_at) for each in self.instances if each.ended_at]
        first = datetime.fromisoformat(self.instances[0].launched_at)
        return {
            "market": self.instances[-1].market,
            "instances": self.instances,
            "interruptions": self.interruptions,
            "seconds": round(sum(each.seconds or 0 for each in self.instances), 2),
            "wall_seconds": round((max(ends) - first).total_seconds(), 2),
            "seconds_saved": round(saved, 2),
            "seconds_lost": round(lost, 2),
        }

    def _write(self) -> None:
        record.write(self.s3, self.bucket, self.run, record.Ec2Instances(instances=self.instances))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
