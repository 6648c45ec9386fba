"""The parameters of the training scripts' rules, so that a misspelt one is refused before there is a job to fail on it.

`rules` and `profile` are checked by the script as well: this knows the same names, and a test holds the two together.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping

WHOLE, NUMBER, TRUTH = "a whole number", "a number", "true or false"
OFF = "off"

# Of ml_scripts/diagnostics/rules: rule, parameter, kind.
OF_RULES: dict[str, dict[str, str]] = {
    "AllZero": {"threshold": NUMBER},
    "CheckInputImages": {"threshold_mean": NUMBER, "threshold_samples": WHOLE, "signed": TRUTH},
    "ClassImbalance": {
        "threshold_imbalance": NUMBER,
        "threshold_misprediction": NUMBER,
        "samples": WHOLE,
        "certainty": NUMBER,
    },
    "Confusion": {"min_diag": NUMBER, "max_off_diag": NUMBER, "certainty": NUMBER},
    "DeadRelu": {"threshold_inactivity": NUMBER, "threshold_layer": NUMBER},
    "ExplodingTensor": {"only_nan": TRUTH},
    "LargeBatch": {"least_steps": WHOLE, "learnt": NUMBER, "still_percent": NUMBER},
    "LeakedValidation": {"most_leaked": WHOLE},
    "LossNotDecreasing": {
        "num_steps": WHOLE,
        "diff_percent": NUMBER,
        "increase_threshold_percent": NUMBER,
        "average": WHOLE,
        "learnt": NUMBER,
    },
    "Overfit": {"ratio_threshold": NUMBER, "patience": WHOLE, "start_step": WHOLE, "of_chance": TRUTH},
    "Overtraining": {"patience_train": WHOLE, "patience_validation": WHOLE, "delta": NUMBER},
    "PoorWeightInitialization": {
        "threshold": NUMBER,
        "distribution_range": NUMBER,
        "patience": WHOLE,
        "steps": WHOLE,
        "signs": WHOLE,
    },
    "SaturatedActivation": {
        "threshold_tanh_min": NUMBER,
        "threshold_tanh_max": NUMBER,
        "threshold_sigmoid_min": NUMBER,
        "threshold_sigmoid_max": NUMBER,
        "threshold_inactivity": NUMBER,
        "threshold_layer": NUMBER,
    },
    "StalledTrainingRule": {"threshold": NUMBER},
    "UnchangedTensor": {"num_steps": WHOLE, "rtol": NUMBER, "atol": NUMBER},
    "VanishingGradient": {"threshold": NUMBER, "learnt": NUMBER},
    "WeightUpdateRatio": {"large_threshold": NUMBER, "small_threshold": NUMBER, "epsilon": NUMBER},
}

# Of ml_scripts/profiling/rules.
OF_PROFILER: dict[str, dict[str, str]] = {
    "BatchSize": {
        "cpu_threshold_p95": NUMBER,
        "gpu_threshold_p95": NUMBER,
        "gpu_memory_threshold_p95": NUMBER,
        "patience": WHOLE,
        "window": WHOLE,
        "fixed_percent": NUMBER,
        "least_percent": NUMBER,
    },
    "CPUBottleneck": {"threshold": NUMBER, "gpu_threshold": NUMBER, "cpu_threshold": NUMBER, "patience": WHOLE},
    "Dataloader": {"min_threshold": NUMBER, "max_threshold": NUMBER, "decoding_percent": NUMBER},
    "GPUMemoryIncrease": {"increase": NUMBER, "patience": WHOLE, "window": WHOLE},
    "IOBottleneck": {
        "threshold": NUMBER,
        "gpu_threshold": NUMBER,
        "io_threshold": NUMBER,
        "patience": WHOLE,
        "reading_percent": NUMBER,
    },
    "LoadBalancing": {"threshold": NUMBER, "least_seconds": NUMBER},
    "LowGPUUtilization": {"threshold_p95": NUMBER, "threshold_p5": NUMBER, "window": WHOLE, "patience": WHOLE},
    "MaxInitializationTime": {"threshold": NUMBER},
    "OverallSystemUsage": {},
    "StepOutlier": {"stddev": NUMBER, "n_outliers": WHOLE, "lost_percent": NUMBER},
}

# What else may stand in `profile`: the least and the most behind its colon (AWS: ProfilingIntervalInMilliseconds).
PARTS: dict[str, tuple[int, int] | None] = {"system": (100, 60_000), "steps": None, "trace": (1, 200)}

BASES = ("default", "aws", "none")
_PARAMETER = re.compile(r"\w+=[\w.+-]+")


def check_profile(profile: str) -> None:
    """Check the text `profile`: `default`, `aws` or `none`, then parts and rules that differ, after commas.

    Raises ValueError with one sentence on the first thing that the script would not take.
    """
    for place, word in enumerate(profile.split(",")):
        name, *settings = word.split(":")
        if place == 0 and word in BASES:
            continue
        if name in PARTS:
            _check_part(word, name, settings)
        elif name in OF_PROFILER:
            for setting in settings:
                if setting not in (OFF, "report"):
                    check_parameter("profile", name, setting, OF_PROFILER[name])
        else:
            raise ValueError(f"profile has {name!r}; {nearest(name, (*OF_PROFILER, *PARTS, *BASES))}")


def _check_part(word: str, name: str, settings: list[str]) -> None:
    if not settings or settings == [OFF]:
        return
    if (limits := PARTS[name]) is None:
        raise ValueError(f"profile has {word!r}; it has to be {name} or {name}:{OFF}.")
    low, high = limits
    if len(settings) > 1 or not settings[0].isdecimal() or not low <= int(settings[0]) <= high:
        raise ValueError(
            f"profile has {word!r}; it has to be {name}:{OFF}, or a whole number from {low} to {high} after the colon."
        )


def check_parameter(field: str, rule: str, setting: str, known: Mapping[str, str]) -> None:
    """Check a `parameter=value` of a rule in a form's field.

    Parameters: `known` the rule's parameters, with their kinds. Raises ValueError with one sentence.
    """
    if not _PARAMETER.fullmatch(setting):
        raise ValueError(f"{field} has {setting!r} for {rule}; it has to be {OFF} or a parameter=value.")
    name, _, value = setting.partition("=")
    if name not in known:
        right = nearest(name, tuple(known)) if known else f"{rule} has no parameters."
        raise ValueError(f"{field} has {rule}:{setting}; {right}")
    if not _is(value, known[name]):
        raise ValueError(f"{field} has {rule}:{setting}; {name} has to be {known[name]}.")


def nearest(name: str, known: tuple[str, ...]) -> str:
    """What a person may have meant by a name that is not known."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"it has to be one of {', '.join(known)}."


def _is(value: str, kind: str) -> bool:
    if kind == TRUTH:
        return value.lower() in ("true", "false")
    try:
        return not math.isnan((int if kind == WHOLE else float)(value))
    except ValueError:
        return False
