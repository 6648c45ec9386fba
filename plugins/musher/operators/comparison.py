"""Two registered models under the same load: chosen, deployed beside each other, measured, removed."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowException

from musher import names, request_parameters
from musher.comparison.blocks import VARIANTS, Block, Variant
from musher.comparison.climb import coarse_capacity, rounds
from musher.comparison.differences import Sureness
from musher.comparison.findings import findings
from musher.comparison.under_load import UnderLoad
from musher.costs import prices
from musher.errors import ConfigError, UserError
from musher.hooks import registry
from musher.hooks.in_service import NotToBeTold, in_service
from musher.hooks.serving import CHANGING, ServingHook, found
from musher.load.pictures import labelled_pictures
from musher.load.targets import EndpointTarget
from musher.operators.base import MusherOperator, comparison_config, plainly, run_of
from musher.operators.deployment import chosen
from musher.operators.endpoint import LIMIT_SECONDS, check_archive
from musher.operators.removal import RemovalOperator
from musher.triggers.endpoint import EndpointTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class ChooseModelsOperator(MusherOperator):
    """Which two models to compare: those named, else the one in service and the newest approved one that is another.

    Returns `{a, b}`, each as ChooseModelOperator returns it, with its `version` and `status`.
    """

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, sagemaker = comparison_config(context), self.client("sagemaker")
        packages = {"a": self._named(sagemaker, "model_package_arn_a", config.model_package_arn_a)}
        packages["a"] = packages["a"] or self._in_service(sagemaker)
        packages["b"] = self._named(sagemaker, "model_package_arn_b", config.model_package_arn_b) or self._newest(
            sagemaker, "model_package_arn_b", beside=packages["a"]["ModelPackageArn"]
        )
        both = {}
        for variant, package in packages.items():
            both[variant] = {
                **chosen(package, config.instance_type, run_of(context).key, self.log),
                "version": package.get("ModelPackageVersion"),
                "status": package.get("ModelApprovalStatus"),
            }
            self.log.info("%s is %s", variant, package["ModelPackageArn"])
        return both

    def _named(self, sagemaker: Any, field: str, arn: str) -> dict[str, Any] | None:
        if not arn:
            return None
        package = found(lambda: sagemaker.describe_model_package(ModelPackageName=arn))
        if package is None:
            raise ConfigError(f"{field} is {arn!r}; there is no such model package.")
        return package

    def _in_service(self, sagemaker: Any) -> Mapping[str, Any]:
        endpoint = names.Stack(self.environment.project).endpoint
        try:
            serving = in_service(sagemaker, endpoint)
        except NotToBeTold as error:
            raise ConfigError(
                f"model_package_arn_a is empty, and what {endpoint} serves cannot be told: {error}. Name a model."
            ) from None
        if serving is None:
            return self._newest(sagemaker, "model_package_arn_a")
        if serving.package is None:
            raise ConfigError(
                f"model_package_arn_a is empty, and {endpoint} serves the model {serving.model}, which comes from no "
                "model package. Name a model."
            )
        return serving.package

    def _newest(self, sagemaker: Any, field: str, *, beside: str = "") -> dict[str, Any]:
        group = self.environment.model_package_group
        if package := registry.newest_approved(sagemaker, group, beside=beside):
            return package
        other = f" other than {beside}" if beside else ""
        raise ConfigError(
            f"{field} is empty, and the group {group} has no approved model{other}: train one first, or name a model "
            "package."
        )


class DeployVariantsOperator(MusherOperator):
    """Bring two models to one endpoint, each a variant on an instance of its own; returns the endpoint's name.

    Parameters: `models` what ChooseModelsOperator returned. What an earlier try began is attached to; an endpoint that
    another run left is in the way only until it is removed. Everything carries the tag `expires`. An archive that is
    not the one that was registered is not deployed.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields("models")

    def __init__(self, *, models: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.models = models

    @plainly
    def execute(self, context: Context) -> Any:
        endpoint, wanted = names.comparison_endpoint(self.environment.project), self._name(context)
        now = self.hook.describe_endpoint(endpoint)
        if now is not None and now["EndpointConfigName"] != wanted:
            raise UserError(
                f"The endpoint {endpoint} of another comparison stands, with the configuration "
                f"{now['EndpointConfigName']}: run remove_comparison of that run, or remove_deployment."
            )
        if now is None:
            self._create(context, endpoint, wanted)
        elif now["EndpointStatus"] not in CHANGING:
            return self._settled(endpoint, now["EndpointStatus"], now.get("FailureReason"))
        env = self.environment
        self.defer(
            trigger=EndpointTrigger(
                name=endpoint,
                previous=None,
                poll_seconds=env.poll_seconds,
                deadline=time.time() + LIMIT_SECONDS,
                aws_conn_id=self.aws_conn_id,
                region_name=env.region,
            ),
            method_name="resume",
        )

    @plainly
    def resume(self, context: Context, event: Mapping[str, Any]) -> str:
        """The creation has ended."""
        endpoint = names.comparison_endpoint(self.environment.project)
        return self._settled(endpoint, event["status"], event["reason"])

    def _settled(self, endpoint: str, status: str, reason: str | None) -> str:
        if status != "InService":
            self.hook.delete_settled_endpoint(endpoint, self.environment.poll_seconds)
            raise AirflowException(f"The endpoint {endpoint} is {status}: {reason or 'no reason given'}")
        return endpoint

    def _name(self, context: Context) -> str:
        return run_of(context).name(self.environment.project, names.COMPARE_MODELS)

    def _create(self, context: Context, endpoint: str, name: str) -> None:
        config, env, run, sagemaker = comparison_config(context), self.environment, run_of(context), self.hook.conn
        for variant in VARIANTS:
            check_archive(sagemaker, self.client("s3"), self.models[variant]["package_arn"], self.log)
        expires = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=config.limit_seconds)).isoformat(timespec="seconds")
        models = {variant: f"{name}-{variant}" for variant in VARIANTS}
        for variant, model in models.items():
            if found(lambda model=model: sagemaker.describe_model(ModelName=model)) is None:
                request = request_parameters.model(
                    env,
                    name=model,
                    run=run,
                    package_arn=self.models[variant]["package_arn"],
                    specification=self.models[variant]["specification"],
                    expires=expires,
                )
                sagemaker.create_model(**request)
        if found(lambda: sagemaker.describe_endpoint_config(EndpointConfigName=name)) is None:
            sagemaker.create_endpoint_config(
                **request_parameters.variants(
                    env, name=name, run=run, models=models, instance_type=config.instance_type, expires=expires
                )
            )
        sagemaker.create_endpoint(
            **request_parameters.create_endpoint(env, name=endpoint, config_name=name, run=run, expires=expires)
        )


class CompareUnderLoadOperator(MusherOperator):
    """Put both models under the same load and say how they differ, and how sure that is.

    Parameters: `models` what ChooseModelsOperator returned; `endpoint` what DeployVariantsOperator did. Writes the part
    `model_comparison`; returns its conclusion.

    First both are asked about every labelled picture, a few each in turn. Then both are taken from a low rate to the
    highest that each takes, as many rounds as the run's params say, each rate one right after the other
    (musher.comparison.climb), by an open loop whose latency counts from when a request was due. The load ends with the
    task, also when that is killed: it is sent from here.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields("models", "endpoint")

    def __init__(self, *, models: Any, endpoint: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.models = models
        self.endpoint = endpoint

    @plainly
    def execute(self, context: Context) -> str:
        config, run = comparison_config(context), run_of(context)
        began, stop = self.hook.describe_endpoint(self.endpoint), time.monotonic() + config.load_limit_seconds
        if began is None:
            raise AirflowException(f"There is no endpoint {self.endpoint} any more: clear this run from the start on.")
        pictures = labelled_pictures(
            self.client("s3"), self.environment, self.models["b"]["dataset_uri"], most=config.pictures
        )
        load = UnderLoad(
            {each: self._target(each) for each in VARIANTS},
            pictures,
            latency_limit_ms=config.latency_limit_ms,
            step_seconds=config.step_seconds,
            on_block=self._say,
        )
        said, weights = load.labelled()
        capacity, refused = coarse_capacity(load.measure)
        climbed = []
        if not refused:
            climbed = rounds(load.measure, capacity, config.rounds, time_left=lambda: time.monotonic() < stop)
        part = findings(
            climbed,
            said,
            refused=refused,
            weights=weights,
            names={each: _called(each, self.models[each]) for each in VARIANTS},
            packages={
                each: {name: self.models[each].get(name) for name in ("package_arn", "version", "status")}
                for each in VARIANTS
            },
            sure=Sureness(confidence=config.confidence, margin=config.margin),
            per_1000=lambda rps: prices.endpoint_per_1000(config.instance_type, rps),
            endpoint=self.endpoint,
            instance_type=config.instance_type,
            latency_limit_ms=config.latency_limit_ms,
            rounds_wanted=config.rounds,
            notes=self._notes(weights),
            instance_seconds=round(2 * (dt.datetime.now(dt.UTC) - began["CreationTime"]).total_seconds(), 1),
            calls=load.calls,
        )
        self.write_part(run.key, part)
        self.log.info("%s", part.conclusion)
        return part.conclusion

    def _target(self, variant: Variant) -> EndpointTarget:
        return EndpointTarget(self.endpoint, self.client_factory, target_variant=variant, keep_answer=True)

    def _say(self, block: Block) -> None:
        self.log.info("%s at %.1f/s: %s", block.variant, block.rps, block.why or "taken")

    def _notes(self, weights: Mapping[Variant, list[str]]) -> list[str]:
        """What a reader has to know to understand the figures."""
        notes = []
        if weights["a"] and weights["a"] == weights["b"] != [""]:
            notes.append("Both have the same weights: whatever differs is noise.")
        uris = [self.models[each]["dataset_uri"] for each in VARIANTS]
        if uris[0] != uris[1]:
            notes.append(
                f"The pictures are those of b's test set ({uris[1]}); a was trained on another data set ({uris[0]}), "
                "which may have some of them in its training pictures, or other classes."
            )
        if self.environment.kind == "local":
            notes.append("The two instances share this machine's cores with the sender and with all else that runs.")
        return notes


def _called(variant: Variant, model: Mapping[str, Any]) -> str:
    return f"{variant} (version {model['version']})" if model.get("version") else variant


class RemoveComparisonOperator(RemovalOperator):
    """Remove the endpoint of a comparison with its configuration and models; can be repeated. Returns the list of what
    was removed."""

    @plainly
    def execute(self, context: Context) -> list[str]:
        return self._remove(self.remove_comparison())
