"""The kinds of resources that calls touch: how one is named in a request, what its ARN is, and who owns it.

A kind has one owner. `ours` is one that lives here: each operation that touches it is one of our own or is refused by
name, and moto is never asked about it (`owners.py`). Sources: AWS Service Authorization Reference, "Resource types
defined by ..." of each service.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of resource of a service."""

    name: str
    """As the Service Authorization Reference calls it."""
    resource: str
    """The end of its ARN, with {} for the name that a request gives."""
    members: tuple[str, ...] = ()
    """Members of requests that name one, or several in a list; nested ones with dots."""
    words: tuple[str, ...] = ()
    """What the names of operations call it, besides what its members say."""
    ours: bool = False


KINDS: dict[str, tuple[Kind, ...]] = {
    "lambda": (
        Kind("function", "function:{}", ("FunctionName",),
             ("Function", "Invoke", "Alias", "Version", "Permission", "Policy", "Concurrency", "Runtime",
              "TagResource", "UntagResource", "Tag", "AccountSettings", "DurableExecution"), ours=True),
        Kind("event source mapping", "event-source-mapping:{}", ("UUID",), ("EventSource",), ours=True),
        Kind("code signing config", "code-signing-config:{}", (), ("CodeSigning",), ours=True),
        Kind("layer", "layer:{}", ("LayerName",),
             ("LayerVersionPermission", "LayerVersionPolicy", "LayerVersion", "Layer"), ours=True),
    ),
    "sagemaker": (
        Kind("training-job", "training-job/{}", ("TrainingJobName",), ("TrainingJob",), ours=True),
        Kind("hyper-parameter-tuning-job", "hyper-parameter-tuning-job/{}", ("HyperParameterTuningJobName",),
             ("HyperParameterTuningJob",), ours=True),
        Kind("endpoint", "endpoint/{}", ("EndpointName",), ("Endpoint",), ours=True),
        Kind("endpoint-config", "endpoint-config/{}", ("EndpointConfigName",), ("EndpointConfig",)),
        Kind("model", "model/{}", ("ModelName",), ("Model",)),
        Kind("model-package", "model-package/{}", ("ModelPackageName", "ModelPackageArn"), ("ModelPackage",)),
        Kind("model-package-group", "model-package-group/{}", ("ModelPackageGroupName",), ("ModelPackageGroup",)),
        Kind("experiment", "experiment/{}", ("ExperimentName",), ("Experiment",)),
        Kind("experiment-trial", "experiment-trial/{}", ("TrialName",), ("Trial",)),
        Kind("pipeline", "pipeline/{}", ("PipelineName",), ("Pipeline",)),
    ),
    "sagemaker-runtime": (Kind("endpoint", "endpoint/{}", ("EndpointName",), ("Endpoint",), ours=True),),
    "cloudwatch": (
        Kind("alarm", "alarm:{}", ("AlarmName", "AlarmNames"),
             ("Alarm", "TagResource", "UntagResource", "TagsForResource"), ours=True),
        Kind("metric", "*", ("Namespace", "MetricName"), ("Metric",), ours=True),
        Kind("dashboard", "dashboard/{}", ("DashboardName", "DashboardNames"), ("Dashboard",)),
        Kind("insight-rule", "insight-rule/{}", ("RuleName", "RuleNames"), ("InsightRule",)),
    ),
    "application-autoscaling": (
        Kind("scalable-target", "scalable-target/{}", ("ResourceId", "ResourceIds"),
             ("Scalable", "Scaling", "Scheduled", "TagResource", "UntagResource", "TagsForResource"), ours=True),
    ),
    "ec2": (
        Kind("instance", "instance/{}", ("InstanceId", "InstanceIds"), ("Instance", "Spot")),
        Kind("spot-instances-request", "spot-instances-request/{}", ("SpotInstanceRequestIds",), ("SpotInstance",),
             ours=True),
        Kind("key-pair", "key-pair/{}", ("KeyName", "KeyNames"), ("KeyPair",)),
        Kind("image", "image/{}", ("ImageId", "ImageIds"), ("Image",)),
        Kind("security-group", "security-group/{}", ("GroupId", "GroupIds", "SecurityGroupIds"), ("SecurityGroup",)),
        Kind("subnet", "subnet/{}", ("SubnetId", "SubnetIds"), ("Subnet",)),
        Kind("volume", "volume/{}", ("VolumeId", "VolumeIds"), ("Volume",)),
    ),
    "ec2-instance-connect": (Kind("instance", "instance/{}", ("InstanceId",), ("SSH",), ours=True),),
    "iam": (
        Kind("role", "role/{}", ("RoleName",), ("Role",)),
        Kind("user", "user/{}", ("UserName",), ("User", "AccessKey")),
        Kind("group", "group/{}", ("GroupName",), ("Group",)),
        Kind("policy", "policy/{}", ("PolicyArn",), ("Policy",)),
        Kind("instance-profile", "instance-profile/{}", ("InstanceProfileName",), ("InstanceProfile",)),
    ),
    "logs": (Kind("log-group", "log-group:{}", ("logGroupName", "logGroupNames"), ("LogGroup", "LogStream", "Query")),),
    "ssm": (Kind("parameter", "parameter/{}", ("Name", "Names", "Path"), ("Parameter",)),),
    "secretsmanager": (Kind("secret", "secret:{}", ("SecretId",), ("Secret",)),),
    "cloudformation": (Kind("stack", "stack/{}/*", ("StackName",), ("Stack", "ChangeSet")),),
    "events": (
        Kind("rule", "rule/{}", ("Rule",), ("Rule", "Target")),
        Kind("event-bus", "event-bus/{}", ("EventBusName",), ("EventBus",)),
    ),
    "sns": (Kind("topic", "{}", ("TopicArn", "Name"), ("Topic",)),),
    "sqs": (Kind("queue", "{}", ("QueueName",), ("Queue",)),),
    "ecr": (Kind("repository", "repository/{}", ("repositoryName", "repositoryNames"), ("Repository", "Image")),),
    "budgets": (Kind("budget", "budget/{}", ("BudgetName",), ("Budget",)),),
}  # fmt: skip

# The service in an ARN, where it is not botocore's name.
IN_ARNS = {
    "sagemaker-runtime": "sagemaker",
    "application-autoscaling": "application-autoscaling",
    "ec2-instance-connect": "ec2",
}
# Services whose ARNs have no region.
GLOBAL = {"iam", "budgets"}
