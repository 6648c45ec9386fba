"""The DAGs that pages show and start, by their ids."""

from __future__ import annotations

TRAIN = "train_image_classifier"
TRAIN_ON_EC2 = "train_on_ec2"
DEPLOY = "deploy_image_classifier"
COMPARE = "compare_models"
ROLL_BACK = "roll_back_deployment"
RUNNING_COSTS = "report_running_costs"
# Whose runs are in a history.
REMEMBERED = (TRAIN, DEPLOY, TRAIN_ON_EC2, COMPARE, ROLL_BACK)
