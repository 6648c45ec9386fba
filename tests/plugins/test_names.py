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
