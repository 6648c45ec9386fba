import pytest
from musher.errors import StagingError
from musher.staging import lambda_folder, ml_scripts_folder


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.delenv("MUSHER_ML_SCRIPTS", raising=False)
    monkeypatch.delenv("MUSHER_LAMBDA", raising=False)


def test_the_folders_of_this_checkout_are_found_beside_the_dags(tmp_path, monkeypatch):
    (tmp_path / "dags").mkdir()
    for name, proof in [("ml_scripts", "train.py"), ("lambda", "handler.py")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / proof).touch()
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))

    assert ml_scripts_folder() == tmp_path / "ml_scripts"
    assert lambda_folder() == tmp_path / "lambda"


def test_a_folder_inside_the_dags_does_as_well(tmp_path, monkeypatch):
    folder = tmp_path / "dags" / "ml_scripts"
    folder.mkdir(parents=True)
    (folder / "train.py").touch()
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))

    assert ml_scripts_folder() == folder


def test_what_was_told_comes_first_and_has_to_be_right(tmp_path, monkeypatch, env, scripts):
    told = env.model_copy(update={"ml_scripts": str(scripts)})
    monkeypatch.setenv("MUSHER_ML_SCRIPTS", str(tmp_path))

    assert ml_scripts_folder(told) == scripts
    with pytest.raises(
        StagingError, match=rf"MUSHER_ML_SCRIPTS is '{tmp_path}'; it has to be a folder that holds train"
    ):
        ml_scripts_folder(env)
    wrong = env.model_copy(update={"ml_scripts": "/nowhere"})
    with pytest.raises(StagingError, match="Variable musher: ml_scripts is '/nowhere'"):
        ml_scripts_folder(wrong)


def test_where_it_was_looked_for_is_said(tmp_path, monkeypatch):
    from musher.staging import folders

    (tmp_path / "plugins" / "musher").mkdir(parents=True)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    monkeypatch.setattr(folders.musher, "__file__", str(tmp_path / "plugins" / "musher" / "__init__.py"))

    with pytest.raises(StagingError) as caught:
        lambda_folder()

    text = str(caught.value)
    for place in ("lambda", "dags/lambda", "plugins/lambda"):
        assert str(tmp_path / place) in text
    assert "MUSHER_LAMBDA" in text
    assert "lambda_folder" in text
