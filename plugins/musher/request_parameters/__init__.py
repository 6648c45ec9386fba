"""Pure functions from a configuration to the dicts that boto3 takes.

Nothing here calls AWS, reads a clock or looks at the environment: the same arguments give the same request, and the
tests check every one of them against botocore's own model of the service.
"""

from musher.request_parameters.alarms import serving_alarm_names, serving_alarms
from musher.request_parameters.common import tags
from musher.request_parameters.comparison import variants
from musher.request_parameters.ec2 import run_instance
from musher.request_parameters.evaluation import evaluation_job
from musher.request_parameters.function import (
    create_alias,
    create_function,
    function_url,
    provisioned_concurrency,
    publish_version,
    reserved_concurrency,
    same_settings,
    update_alias,
    update_function_code,
    update_function_configuration,
)
from musher.request_parameters.registry import (
    inference_specification,
    model_approval,
    model_package,
    model_package_group,
    release_decision,
)
from musher.request_parameters.scaling import scalable_target, scaling_policy
from musher.request_parameters.serving import create_endpoint, endpoint_config, model, update_endpoint
from musher.request_parameters.training import METRIC_DEFINITIONS, OBJECTIVE, Inputs, hyperparameters, training
from musher.request_parameters.tuning import tuning

__all__ = [
    "METRIC_DEFINITIONS",
    "OBJECTIVE",
    "Inputs",
    "create_alias",
    "create_endpoint",
    "create_function",
    "endpoint_config",
    "evaluation_job",
    "function_url",
    "hyperparameters",
    "inference_specification",
    "model",
    "model_approval",
    "model_package",
    "model_package_group",
    "provisioned_concurrency",
    "publish_version",
    "release_decision",
    "reserved_concurrency",
    "run_instance",
    "same_settings",
    "scalable_target",
    "scaling_policy",
    "serving_alarm_names",
    "serving_alarms",
    "tags",
    "training",
    "tuning",
    "update_alias",
    "update_endpoint",
    "update_function_code",
    "update_function_configuration",
    "variants",
]
