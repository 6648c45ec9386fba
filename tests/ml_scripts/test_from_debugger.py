"""Requests for SageMaker Debugger's rules, as hyperparameters."""

import json

import from_debugger
import pytest
from diagnostics.choice import choose
from errors import UserError
from profiling.choice import choose_profile

# ActionList(StopTraining(), Email("a@example.com")).serialize() of smdebug_rulesconfig 1.0.1.
ACTIONS = r"[{\"name\": \"stoptraining\"}, {\"endpoint\": \"a@example.com\", \"name\": \"email\"}]"


def rule(name: str, **parameters: str) -> dict:
    return {"RuleConfigurationName": name, "RuleParameters": {"rule_to_invoke": name, **parameters}}


def test_the_rules_of_a_request_are_evaluated_with_its_parameters_and_aws_defaults_and_no_others(tmp_path, capsys):
    request = {
        "TrainingJobName": "a-job",
        "DebugRuleConfigurations": [
            rule("Overfit", ratio_threshold="0.2", tensor_regex="loss", scan_interval_us="60000000"),
            rule("VanishingGradient", action_json=ACTIONS),
            rule("TreeDepth", depth="4"),
        ],
        "ProfilerConfig": {"S3OutputPath": "s3://a/b", "ProfilingIntervalInMilliseconds": 200},
        "ProfilerRuleConfigurations": [rule("LowGPUUtilization", patience="50")],
    }
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))

    from_debugger.main([str(file)])

    said = capsys.readouterr()
    told = json.loads(said.out)
    chosen = {each.rule.name: each for each in choose(told["rules"])}
    assert chosen.keys() == {"Overfit", "VanishingGradient"}
    assert chosen["Overfit"].parameters == {**chosen["Overfit"].rule.aws, "ratio_threshold": 0.2}
    assert (chosen["Overfit"].action, chosen["VanishingGradient"].action) == ("report", "stop")
    profile = choose_profile(told["profile"])
    assert (profile.system, profile.steps, profile.trace) == (0.2, True, 0)
    (only,) = profile.rules
    assert only.parameters == {**only.rule.aws, "patience": 50}
    assert said.err.splitlines() == [
        "Overfit: tensor_regex (loss) has no counterpart: what is recorded is fixed.",
        "VanishingGradient: the action email is Airflow's here: on_issue of train_image_classifier.",
        "TreeDepth has no counterpart.",
    ]


def test_the_profilers_report_runs_all_of_its_rules():
    report = rule("ProfilerReport", StepOutlier_n_outliers="5", NoSuch_threshold="1")
    asked = from_debugger.read({"ProfilerRuleConfigurations": [report]})

    profile = choose_profile(asked.hyperparameters["profile"])
    assert asked.hyperparameters.keys() == {"profile"}
    assert len(profile.rules) > 8
    parameters = {each.rule.name: each.parameters for each in profile.rules}
    assert parameters["StepOutlier"]["n_outliers"] == 5
    assert parameters["MaxInitializationTime"] == {"threshold": 20.0}
    assert asked.left_out == ["NoSuch has no counterpart."]
    assert from_debugger.read({"ProfilerConfig": {"DisableProfiler": True}}).hyperparameters == {"profile": "none"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            {"DebugRuleConfigurations": [rule("Overfit", patience="soon")]},
            "Overfit:patience=soon; it must be an integer",
        ),
        ({"DebugRuleConfigurations": [rule("Overfit", action_json="stop")]}, "action_json that is no JSON: 'stop'"),
        ([], "holds no request: it must be a JSON object"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_one_sentence(tmp_path, content, sentence):
    file = tmp_path / "request.json"
    file.write_text(json.dumps(content))

    with pytest.raises(UserError, match=sentence):
        from_debugger.main([str(file)])
    with pytest.raises(UserError, match=r"nothing\.json cannot be read as JSON"):
        from_debugger.main([str(tmp_path / "nothing.json")])
