"""The Amazon provider's hook, quick to make clients."""

from __future__ import annotations

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook


class AwsHook(AwsBaseHook):
    """`AwsBaseHook` without its search for who makes a client.

    For User-Agent, the provider's (9.34) reads the source of every frame on the stack: three quarters of the 50 ms that
    a client takes, of which a task makes several.
    """

    def _get_caller(self, target_function_name: str = "execute") -> str:
        return "Musher"
