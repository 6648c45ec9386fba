"""The run record: what each task of a run wrote about it on S3, typed; who writes, reads or joins it goes through here.

Each task writes `runs/<run>/<part>.json` as soon as it knows something, so that a run that ends early still has a
report. A part that is not there was not run; that is never an error. What a part's fields mean stands at its class.

`record_version` in a part's file says how it is laid out; a file without it is of version 1. An older one is read, a
newer one is refused. A field that is added with a default changes no version; one that changes its meaning does.
"""

from musher.record.comparison import AgreementOfModels, AtRate, ContestedModel, ModelComparison, ModelDifference
from musher.record.costs import (
    Costs,
    CurvePoint,
    EndpointCost,
    EndpointUnderLoad,
    FunctionCost,
    LoadTestCost,
    PathCost,
    ProjectedCosts,
    Projection,
    ProjectionOutcome,
    StorageCost,
)
from musher.record.dataset import Dataset
from musher.record.diagnostics import (
    DiagnosedEpoch,
    DiagnosedJob,
    DiagnosedStep,
    Diagnostics,
    Remedy,
    RuleOutcome,
    Saving,
)
from musher.record.ec2 import Ec2Instance, Ec2Instances, Ec2Training
from musher.record.history import History, PastRun, remember
from musher.record.load_test import Check, LoadPhase, LoadTest, PhaseError, Verdict
from musher.record.model import (
    ClassAccuracy,
    ComparedModel,
    Evaluation,
    JudgedPicture,
    Model,
    Predictions,
    Unreadable,
    Validation,
    WorstPicture,
)
from musher.record.parity import AccuracyCheck, Comparison, Difference, Parity
from musher.record.part import Entry, Part, RecordError, sentence
from musher.record.profile import (
    JobProfile,
    Profile,
    ProfiledHost,
    ProfiledRank,
    ProfilerRule,
    ProfileVerdict,
    StepTimes,
)
from musher.record.rehearsal import PassedRehearsal, Rehearsal
from musher.record.release import Approval, JudgeCheck, Release, ReleasePoint, RollBack, ScalingBefore
from musher.record.run import PARTS, RunRecord
from musher.record.security import AuditedRole, NotLookedAt, SecurityAudit, SecurityFinding, ServiceUse
from musher.record.serving import Autoscaling, Capacity, CapacityStep, Endpoint, Function, TimelinePoint
from musher.record.store import prefix, put, read, read_at, read_run, runs_with, take_back, write
from musher.record.training import BestTrial, Training, TrainingJob, Trial, Tuning

__all__ = [
    "PARTS",
    "AccuracyCheck",
    "AgreementOfModels",
    "Approval",
    "AtRate",
    "AuditedRole",
    "Autoscaling",
    "BestTrial",
    "Capacity",
    "CapacityStep",
    "Check",
    "ClassAccuracy",
    "ComparedModel",
    "Comparison",
    "ContestedModel",
    "Costs",
    "CurvePoint",
    "Dataset",
    "DiagnosedEpoch",
    "DiagnosedJob",
    "DiagnosedStep",
    "Diagnostics",
    "Difference",
    "Ec2Instance",
    "Ec2Instances",
    "Ec2Training",
    "Endpoint",
    "EndpointCost",
    "EndpointUnderLoad",
    "Entry",
    "Evaluation",
    "Function",
    "FunctionCost",
    "History",
    "JobProfile",
    "JudgeCheck",
    "JudgedPicture",
    "LoadPhase",
    "LoadTest",
    "LoadTestCost",
    "Model",
    "ModelComparison",
    "ModelDifference",
    "NotLookedAt",
    "Parity",
    "Part",
    "PassedRehearsal",
    "PastRun",
    "PathCost",
    "PhaseError",
    "Predictions",
    "Profile",
    "ProfileVerdict",
    "ProfiledHost",
    "ProfiledRank",
    "ProfilerRule",
    "ProjectedCosts",
    "Projection",
    "ProjectionOutcome",
    "RecordError",
    "Rehearsal",
    "Release",
    "ReleasePoint",
    "Remedy",
    "RollBack",
    "RuleOutcome",
    "RunRecord",
    "Saving",
    "ScalingBefore",
    "SecurityAudit",
    "SecurityFinding",
    "ServiceUse",
    "StepTimes",
    "StorageCost",
    "TimelinePoint",
    "Training",
    "TrainingJob",
    "Trial",
    "Tuning",
    "Unreadable",
    "Validation",
    "Verdict",
    "WorstPicture",
    "prefix",
    "put",
    "read",
    "read_at",
    "read_run",
    "remember",
    "runs_with",
    "sentence",
    "take_back",
    "write",
]
