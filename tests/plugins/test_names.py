import re

import pytest
from musher import names
from musher.errors import ConfigError
from musher.names import Run


def test_a_name_is_the_same_on_every_try_and_differs_between_runs_and_map_indexes(run):
    again = Run(run.dag_id, run.run_id)
    others = {
        run.name("musher", names.TUNE, map_index=0),
        run.name("musher", names.TUNE, map_index=1),
        Run(run.dag_id, "another run").name("musher", names.TUNE),
        Run("another_dag", run.run_id).name("musher", names.TUNE),
    }

    assert run.name("musher", names.TUNE) == again.name("musher", names.TUNE)
    assert len(others) == 4
    assert run.name("musher", names.TUNE) not in others


@pytest.mark.parametrize("step", names.STEPS, ids=lambda step: step.name)
def test_every_attempt_fits_the_limit_and_the_pattern(run, step):
    base = run.name("musher-12345678"[:15], step)

    attempts = list(names.attempt_names(base))

    assert attempts[0] == base
    assert attempts[1] == f"{base}-2"
    assert all(len(name) <= step.limit for name in attempts)
    assert all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name) for name in attempts)


def test_the_longest_project_the_message_allows_is_the_longest_that_works():
    names.check_project("m" * 15)

    with pytest.raises(ConfigError, match="at most 15 characters") as caught:
        names.check_project("m" * 16)
    assert "m" * 16 in str(caught.value)


@pytest.mark.parametrize("project", ["my_project", "-musher", "", "café", "a b"])
def test_characters_that_aws_refuses_are_refused_here(project):
    with pytest.raises(ConfigError, match="letters, digits and hyphens"):
        names.check_project(project)


def test_a_runs_folder_is_readable_in_a_url_and_its_own_per_dag(run):
    assert run.key.startswith("manual-2026-11-20T20-39-00.123456-00-00-")
    assert re.fullmatch(r"[A-Za-z0-9.-]+", run.key)
    assert run.key != Run("deploy_image_classifier", run.run_id).key
    assert run.name("musher", names.TUNE).rsplit("-", 1)[1] != ""


def test_tags_keep_to_the_characters_and_length_that_aws_takes():
    tags = Run("a_dag", "manual__" + "ä*" * 200).tags("musher")

    assert tags["project"] == "musher"
    assert tags["dag"] == "a_dag"
    assert "*" not in tags["run"]
    assert len(tags["run"]) == 256


def test_a_rehearsal_has_names_of_its_own_for_everything(run):
    serving, rehearsing = names.Stack("musher"), names.Stack.named("musher", "rehearsal")

    assert (serving.endpoint, serving.function) == ("musher-image-classifier", "musher-classifier")
    assert rehearsing.endpoint == "musher-image-classifier-rehearsal"
    assert rehearsing.function == "musher-classifier-rehearsal"
    assert (serving.name, rehearsing.name) == ("production", "rehearsal")
    assert names.Stack.named("musher", "production") == serving
    for one in ("endpoint", "function", "role", "log_group", "scaling_alarms", "step"):
        assert getattr(serving, one) != getattr(rehearsing, one)
    assert run.name("musher", serving.step) != run.name("musher", rehearsing.step)


def test_a_stack_of_another_name_is_refused():
    with pytest.raises(ConfigError, match="stack is 'staging'; it has to be production or rehearsal"):
        names.Stack.named("musher", "staging")


def test_a_rehearsal_runs_as_a_role_of_its_own_where_there_is_one(env):
    own = env.lambda_role_arn + "-rehearsal"
    with_one = env.model_copy(update={"lambda_rehearsal_role_arn": own})

    assert names.Stack("musher", rehearsal=True).role_arn(with_one) == own
    assert names.Stack("musher").role_arn(with_one) == env.lambda_role_arn
    assert names.Stack("musher", rehearsal=True).role_arn(env) == env.lambda_role_arn


@pytest.mark.parametrize(("rehearsal", "longest"), [(False, 46), (True, 36)])
def test_a_stack_whose_names_do_not_fit_says_how_long_a_project_may_be(rehearsal, longest):
    names.Stack("m" * longest, rehearsal).check()

    with pytest.raises(ConfigError, match=f"image-classifier.* a project of at most {longest} characters"):
        names.Stack("m" * (longest + 1), rehearsal).check()
