"""What jobs and the function need beside the data set, put on S3 under its digest: code, packages, pretrained weights.

Jobs run without a network, so everything they use is staged before they start; what is there already is not sent again.
"""

from musher.staging.code import StagedCode, function_archive, stage_code, staged_code
from musher.staging.folders import lambda_folder, ml_scripts_folder
from musher.staging.inputs import stage_inputs
from musher.staging.pretrained import StagedWeights, stage_pretrained

__all__ = [
    "StagedCode",
    "StagedWeights",
    "function_archive",
    "lambda_folder",
    "ml_scripts_folder",
    "stage_code",
    "stage_inputs",
    "stage_pretrained",
    "staged_code",
]
