"""The data set and the other inputs of the jobs, brought into the bucket."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from musher import record, staging
from musher.dataset import sync_dataset
from musher.operators.base import MusherOperator, plainly, run_of, training_config

if TYPE_CHECKING:
    from airflow.sdk import Context

CONNECTIONS = 16


class SyncDatasetOperator(MusherOperator):
    """Make the bucket hold the data set: only what changed is sent, after its layout was checked.

    Returns the run record's `dataset`, and `uri`, the prefix that the jobs read.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, env = training_config(context), self.environment
        result = sync_dataset(
            self.client("s3", max_pool_connections=CONNECTIONS),
            config.dataset,
            bucket=env.bucket,
            name=config.dataset_name,
            delete_removed=config.delete_removed,
            max_unreadable_share=config.max_unreadable_share,
        )
        self.log.info("%s", result.line)
        part = record.Dataset(**asdict(result))
        self.write_part(run_of(context).key, part)
        return {**part.to_json(), "uri": env.uri("dataset", config.dataset_name, "")}


class StageInputsOperator(MusherOperator):
    """Put the training code and the pretrained backbone where jobs without a network find them, once per content.

    Returns `{code, pretrained}`, S3 prefixes.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, env = training_config(context), self.environment
        staged = staging.stage_inputs(self.client("s3"), config, env)
        for name, each in staged.items():
            self.log.info("%s: %s%s", name, each["uri"], "" if each["sent"] else " (was there already)")
        return {name: each["uri"] for name, each in staged.items()}
