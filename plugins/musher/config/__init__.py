"""Everything a run is told: facts of the environment, and what a person may choose for each DAG.

Each value is typed, limited, explained and checked once, here; nothing below has to check it again.
"""

from musher.config.comparison import ComparisonConfig
from musher.config.deployment import DeploymentConfig
from musher.config.ec2_training import Ec2TrainingConfig
from musher.config.environment import Environment
from musher.config.running_costs import RunningCostsConfig
from musher.config.security_audit import SecurityAuditConfig
from musher.config.training import TrainingConfig
from musher.errors import ConfigError

__all__ = [
    "AWS_CONN_ID",
    "ComparisonConfig",
    "ConfigError",
    "DeploymentConfig",
    "Ec2TrainingConfig",
    "Environment",
    "RunningCostsConfig",
    "SecurityAuditConfig",
    "TrainingConfig",
]

AWS_CONN_ID = "aws_default"
