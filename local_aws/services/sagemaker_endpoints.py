"""SageMaker's endpoints: real inference processes behind Create, Update and InvokeEndpoint.

Models and endpoint configurations are moto's records. The endpoint's record exists in moto as well, so that tags and
Search find it; its state is kept here.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from moto.backends import get_backend

from local_aws import quotas, usage
from local_aws.endpoints import deployment, router, streams
from local_aws.endpoints.endpoint import Endpoint
from local_aws.endpoints.fleet import Fleet
from local_aws.endpoints.record import EndpointRecord
from local_aws.errors import AwsError, validation
from local_aws.events import sagemaker
from local_aws.services.base import RESTARTED, Call, FastPath, RawRequest, RawResponse, Service, page
from local_aws.services.listing import chosen
from local_aws.tags import check_tags

# AWS emits concurrency as a high-resolution metric, one datapoint in 10 s.
CONCURRENCY_PERIOD = 10


class SageMakerEndpoints(Service):
    """Endpoints of the one account and region."""

    name = "sagemaker"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self._endpoints: dict[str, Endpoint] = {}
        self._lock = threading.Lock()
        # Held from looking at a quota until what it was looked at for counts.
        self._admission = threading.Lock()
        self._stopping = threading.Event()
        self.refuses_update: list[Callable[[Endpoint, dict[str, Any]], str | None]] = []
        """Called with an endpoint and its new configuration: a sentence that refuses UpdateEndpoint, or None."""

    def start(self) -> None:
        # What a killed predecessor left: its endpoints are gone with it.
        shutil.rmtree(self.aws.settings.state / "endpoints", ignore_errors=True)
        threading.Thread(target=self._sample, name="concurrency", daemon=True).start()
        for endpoint in list(self._endpoints.values()):
            endpoint.resume()

    def remember(self) -> list[EndpointRecord]:
        with self._lock:
            return [each.remember() for each in self._endpoints.values()]

    def restore(self, kept: list[EndpointRecord], saved_at: dt.datetime) -> None:
        # What was being deleted is gone, from moto's records as well.
        kept = [each for each in kept if each.status != "Deleting"]
        self._endpoints = {each.name: self._told(Endpoint.restored(self.aws, each, RESTARTED)) for each in kept}
        for name in set(self._moto.endpoints) - set(self._endpoints):
            del self._moto.endpoints[name]

    def stop(self) -> None:
        self._stopping.set()
        for endpoint in list(self._endpoints.values()):
            endpoint.abandon()

    def every_minute(self, now: float) -> None:
        """What each instance used in the minute that has just ended, and a zero for every variant that served nothing.

        AWS emits no datapoint of these then; its scale-in of an idle endpoint rests on how its own alarm treats missing
        data. Here the zeros make "15 low datapoints" hold for an idle endpoint without a second rule. They are left out
        where there is data, so no sum, count or average of real calls is changed.
        """
        middle = now - self.aws.clock.minute / 2
        for endpoint in list(self._endpoints.values()):
            fleet = endpoint.fleet
            if fleet is None:
                continue
            for variant in fleet.variants:
                dimensions = {"EndpointName": endpoint.name, "VariantName": variant.name}
                for instance in list(variant.instances):
                    usage.publish(
                        self.aws, usage.ENDPOINTS, dimensions, instance.instance, middle, instance.container.acting
                    )
                for metric in ("Invocations", "InvocationsPerInstance"):
                    found = self.aws.metrics.statistic(
                        router.NAMESPACE, metric, dimensions, "SampleCount", 60, now - self.aws.clock.minute, now
                    )
                    if not found:
                        self.aws.metrics.put(router.NAMESPACE, metric, dimensions, 0.0, "None", middle)

    # --- what other services use

    def all(self) -> list[Endpoint]:
        return list(self._endpoints.values())

    def find(self, name: str) -> Endpoint | None:
        """An endpoint by name."""
        return self._endpoints.get(name)

    def set_capacity(self, name: str, variant: str, count: int) -> None:
        """Change one variant's instance count, for auto-scaling. Raises AwsError while another change is running."""
        endpoint = self._found(name)
        with self._admission:
            endpoint.change({variant: (count, None)})

    # --- operations

    def create_endpoint(self, call: Call) -> dict[str, Any]:
        name = call.params["EndpointName"]
        check_tags(call.params.get("Tags"))
        config = self._config(call)
        arn = call.arn(f"endpoint/{name.lower()}")
        counts = {each.name: each.desired for each in deployment.wanted(config, (), ())}
        deployment.plan(call.params.get("DeploymentConfig"), counts, counts)
        with self._lock:
            if name in self._endpoints:
                raise validation(f'Cannot create already existing endpoint "{arn}".')
            endpoint = Endpoint(self.aws, name, arn, config, call.params.get("DeploymentConfig"))
            with self._admission:
                self._admit(endpoint.wanted())
                self._endpoints[name] = self._told(endpoint)
        self._moto.create_endpoint(name, config["EndpointConfigName"], call.params.get("Tags") or [])
        # Moto's ARN must be the one that was given out, or ListTags would not find it.
        self._moto.endpoints[name].arn = arn
        endpoint.on_state()
        endpoint.deploy()
        return {"EndpointArn": arn}

    def describe_endpoint(self, call: Call) -> dict[str, Any]:
        return self._found(call.params["EndpointName"]).describe()

    def list_endpoints(self, call: Call) -> dict[str, Any]:
        found = chosen(
            list(self._endpoints.values()),
            call.params,
            name=lambda each: each.name,
            created=lambda each: each.created,
            modified=lambda each: each.modified,
            status=lambda each: each.status,
        )
        return page([each.summary() for each in found], call, key="Endpoints", default=10)

    def update_endpoint(self, call: Call) -> dict[str, Any]:
        endpoint = self._found(call.params["EndpointName"])
        config = self._config(call)
        for check in self.refuses_update:
            refusal = check(endpoint, config)
            if refusal:
                raise validation(refusal)
        with self._admission:
            endpoint.update(
                config,
                keep=_retained(call.params),
                deployment_config=call.params.get("DeploymentConfig"),
                retain_deployment_config=bool(call.params.get("RetainDeploymentConfig")),
            )
        return {"EndpointArn": endpoint.arn}

    def update_endpoint_weights_and_capacities(self, call: Call) -> dict[str, Any]:
        endpoint = self._found(call.params["EndpointName"])
        wanted = {
            each["VariantName"]: (each.get("DesiredInstanceCount"), each.get("DesiredWeight"))
            for each in call.params["DesiredWeightsAndCapacities"]
        }
        with self._admission:
            endpoint.change(wanted)
        return {"EndpointArn": endpoint.arn}

    def delete_endpoint(self, call: Call) -> None:
        endpoint = self._found(call.params["EndpointName"])
        endpoint.delete(self._forget)

    def fast_paths(self) -> Iterable[FastPath]:
        for operation, place, handler in (
            ("InvokeEndpoint", "invocations", self.invoke),
            ("InvokeEndpointWithResponseStream", "invocations-response-stream", self.invoke_with_stream),
        ):
            pattern = re.compile(rf"/endpoints/([^/]+)/{place}")
            yield FastPath("POST", pattern, "sagemaker-runtime", "sagemaker", operation, ("EndpointName",), handler)

    def invoke(self, request: RawRequest) -> RawResponse:
        """InvokeEndpoint, on the gateway's fast path."""
        began, tried = time.perf_counter(), None
        name = request.params["EndpointName"]
        while True:
            endpoint = self._endpoints.get(name)
            fleet: Fleet | None = endpoint.serving() if endpoint else None
            if endpoint is not None and fleet is None and endpoint.status == "SystemUpdating":
                raise _unavailable()
            if endpoint is None or fleet is None:
                raise AwsError(
                    "ValidationError",
                    f"Endpoint {name} of account {self.aws.account} not found.",
                )
            if fleet is tried:
                raise _unavailable()
            try:
                return router.invoke(self.aws, endpoint.name, fleet, request, began)
            except router.NoInstance:
                # An update may have replaced the fleet since it was looked up: only the same one twice is an outage.
                tried = fleet

    def invoke_with_stream(self, request: RawRequest) -> RawResponse:
        """InvokeEndpointWithResponseStream."""
        return streams.answered(self.invoke(streams.asked(request)))

    # --- inside

    def _told(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint whose changes EventBridge is told."""
        endpoint.on_state = lambda: self._announce(endpoint, sagemaker.ENDPOINT)
        endpoint.admit = self._admit
        endpoint.on_progress = lambda: self._announce(endpoint, sagemaker.DEPLOYMENT)
        return endpoint

    def _admit(self, more: Mapping[str, int]) -> None:
        """Whether the account may have so many more instances, by type, beside what its endpoints have.

        Raises AwsError.
        """
        held: Counter[str] = Counter()
        for each in list(self._endpoints.values()):
            held.update(each.held())
        for instance_type, count in more.items():
            name = quotas.sagemaker_name(instance_type, quotas.ENDPOINT)
            self.aws.quotas.check(name, held[instance_type], count)

    def _announce(self, endpoint: Endpoint, kind: str) -> None:
        kept = self._moto.endpoints.get(endpoint.name)
        self.aws.events.send(
            kind,
            endpoint.arn,
            lambda: sagemaker.detail(kind, endpoint.describe(), kept.tags if kept else ()),
            sagemaker.SOURCE,
        )

    @property
    def _moto(self):
        return get_backend("sagemaker")[self.aws.account][self.aws.region]

    def _found(self, name: str) -> Endpoint:
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            arn = f"arn:aws:sagemaker:{self.aws.region}:{self.aws.account}:endpoint/{name.lower()}"
            raise validation(f'Could not find endpoint "{arn}".')
        return endpoint

    def _config(self, call: Call) -> dict[str, Any]:
        name = call.params["EndpointConfigName"]
        try:
            return self.aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=name)
        except ClientError as error:
            arn = call.arn(f"endpoint-config/{name.lower()}")
            raise validation(f'Could not find endpoint configuration "{arn}".') from error

    def _forget(self, endpoint: Endpoint) -> None:
        with self._lock:
            self._endpoints.pop(endpoint.name, None)
        self._moto.endpoints.pop(endpoint.name, None)
        self.aws.saver.changed()

    def _sample(self) -> None:
        while not self._stopping.wait(self.aws.clock.real(CONCURRENCY_PERIOD)):
            for endpoint in list(self._endpoints.values()):
                for fleet, variant in endpoint.open_to_calls():
                    for peak in variant.peaks():
                        for dimensions in router.dimension_sets(endpoint.name, fleet, variant):
                            self.aws.metrics.put(
                                router.NAMESPACE, "ConcurrentRequestsPerModel", dimensions, peak, "Count"
                            )


def _retained(params: dict[str, Any]) -> set[str]:
    """What UpdateEndpoint is to leave as the variants have it now.

    AWS: API reference, UpdateEndpoint, RetainAllVariantProperties and ExcludeRetainedVariantProperties.
    """
    excluded = {each["VariantPropertyType"] for each in params.get("ExcludeRetainedVariantProperties") or ()}
    if "DataCaptureConfig" in excluded:
        raise validation(
            "ExcludeRetainedVariantProperties names DataCaptureConfig, which is not currently supported: what is "
            "captured is the new configuration's."
        )
    if not params.get("RetainAllVariantProperties"):
        return set()
    return {"DesiredInstanceCount", "DesiredWeight"} - excluded


def _unavailable() -> AwsError:
    return AwsError("ServiceUnavailable", "The service is currently unavailable.", status=503)
