"""The services that the local AWS answers itself; moto answers the rest.

A service is a class derived from `services.base.Service`, listed here. See base.py for its shape.
"""

from __future__ import annotations

from local_aws.services.application_autoscaling import ApplicationAutoScaling
from local_aws.services.application_autoscaling_schedules import ScheduledActions
from local_aws.services.base import Service
from local_aws.services.cloudformation import CloudFormation
from local_aws.services.cloudformation_change_sets import CloudFormationChangeSets
from local_aws.services.cloudwatch import CloudWatch
from local_aws.services.cloudwatch_alarms import CloudWatchAlarms
from local_aws.services.ec2 import Ec2
from local_aws.services.ec2_instance_connect import Ec2InstanceConnect
from local_aws.services.ec2_power import Ec2Power
from local_aws.services.ec2_spot import Ec2Spot
from local_aws.services.ec2_tags import Ec2Tags
from local_aws.services.events import EventBridge
from local_aws.services.iam_boundaries import IamBoundaries
from local_aws.services.iam_last_accessed import IamLastAccessed
from local_aws.services.iam_simulator import IamSimulator
from local_aws.services.lambda_ import Lambda
from local_aws.services.lambda_concurrency import LambdaConcurrency
from local_aws.services.lambda_events import LambdaEvents
from local_aws.services.lambda_layers import LambdaLayers
from local_aws.services.lambda_permissions import LambdaPermissions
from local_aws.services.lambda_urls import LambdaUrls
from local_aws.services.lambda_versions import LambdaVersions
from local_aws.services.log_queries import LogQueries
from local_aws.services.s3_listing import S3Listing
from local_aws.services.s3_objects import S3Objects
from local_aws.services.s3_uploads import S3Uploads
from local_aws.services.sagemaker_endpoints import SageMakerEndpoints
from local_aws.services.sagemaker_experiments import SageMakerExperiments
from local_aws.services.sagemaker_models import SageMakerModels
from local_aws.services.sagemaker_registry import SageMakerRegistry
from local_aws.services.sagemaker_search import SageMakerSearch
from local_aws.services.sagemaker_tags import SageMakerTags
from local_aws.services.sagemaker_training import SageMakerTraining
from local_aws.services.sagemaker_tuning import SageMakerTuning
from local_aws.services.service_quotas import ServiceQuotas
from local_aws.services.ssm import Ssm
from local_aws.services.sts import Sts

# Every minute is told in this order: who measures, the alarms, who acts on them.
SERVICES: list[type[Service]] = [
    SageMakerTraining,
    SageMakerTuning,
    SageMakerTags,
    SageMakerSearch,
    SageMakerExperiments,
    SageMakerRegistry,
    SageMakerModels,
    SageMakerEndpoints,
    LambdaConcurrency,
    CloudWatch,
    CloudWatchAlarms,
    EventBridge,
    ScheduledActions,
    ApplicationAutoScaling,
    Lambda,
    LambdaEvents,
    LambdaLayers,
    LambdaPermissions,
    LambdaUrls,
    LambdaVersions,
    Ec2,
    Ec2Power,
    Ec2Spot,
    Ec2Tags,
    Ec2InstanceConnect,
    LogQueries,
    Ssm,
    Sts,
    ServiceQuotas,
    IamSimulator,
    IamBoundaries,
    IamLastAccessed,
    S3Objects,
    S3Listing,
    S3Uploads,
    CloudFormation,
    CloudFormationChangeSets,
]
