"""The Amazon provider's hook, quick to make clients."""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

# By botocore's setting `data_path`: where else it looks for AWS's models of its services.
_LOADERS: dict[str | None, Any] = {}


class AwsHook(AwsBaseHook):
    """`AwsBaseHook` without its search for who makes a client, and without reading a service's model twice.

    For User-Agent, the provider's (9.34) reads the source of every frame on the stack: three quarters of the 50 ms that
    a client takes, of which a task makes several. And each of its hooks has a session of its own, whose clients read
    AWS's models anew: 100 ms for another client of S3, 6 where all sessions of a process share what they have read.
    """

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        session = super().get_session(region_name, deferrable)
        core = getattr(session, "_session", session)  # botocore's, which boto3's has no other name for
        loader = _LOADERS.setdefault(core.get_config_variable("data_path"), core.get_component("data_loader"))
        core.register_component("data_loader", loader)
        return session

    def _get_caller(self, target_function_name: str = "execute") -> str:
        return "Musher"
