"""The page on one's own pictures, limits and backbone: its snippets work, and its places and limits are the code's."""

from __future__ import annotations

import ast
import shutil
import subprocess

import pytest
from musher.config import TrainingConfig
from musher.dataset import Limits
from musher.staging.pretrained import KNOWN, Weights

from tests.docs.pages import DOCS, ROOT, blocks, rows, section
from tests.local_aws.daemon import JOBS_PYTHON
from tools.stack import Stack

YOUR_OWN = (DOCS / "your_own.md").read_text()


def python_block(containing: str) -> str:
    (found,) = [each.text for each in blocks(DOCS / "your_own.md") if each.info == "python" and containing in each.text]
    return found


def test_defaults_of_a_dag_are_given_as_the_page_says():
    call = ast.parse(python_block("TrainingConfig.params").strip(), mode="eval").body
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert TrainingConfig.from_params(given).accuracy_floor == 0.9


def test_the_limits_of_a_data_set_are_those_of_the_code():
    limits = Limits()
    text = " ".join(YOUR_OWN.split())
    assert f"A download may have {limits.download_bytes >> 30} GiB" in text
    assert f"unpack to {limits.unpacked_bytes >> 30} GiB and {limits.files:,} files" in text


def test_the_places_that_name_a_backbone_are_all_there():
    files = [
        path
        for folder in ("plugins", "ml_scripts", "lambda", "dags", "tools")
        for path in (ROOT / folder).rglob("*.py")
    ]
    naming = {str(path.relative_to(ROOT)) for path in files if '"resnet18"' in path.read_text()}
    listed = {cells[0].strip("`") for cells in rows(section(YOUR_OWN, "Your own weights, or your own backbone"))}
    assert naming == listed - {"file"}


def test_the_weights_entry_is_one_that_staging_takes():
    entry = eval("{" + python_block("b627a593") + "}", {"Weights": Weights})
    assert entry["resnet34"].url.endswith(entry["resnet34"].file)
    assert len(entry["resnet34"].sha256) == len(KNOWN["resnet18"].sha256)


@pytest.mark.slow
def test_the_backbone_entry_makes_a_network(tmp_path):
    if not JOBS_PYTHON.exists():
        pytest.skip("there is no environment with torch")
    # GIVEN ml_scripts with the page's entry, and its name where the command line knows backbones
    scripts = tmp_path / "ml_scripts"
    shutil.copytree(ROOT / "ml_scripts", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    file = scripts / "backbones.py"
    head = "KINDS: dict[str, BackboneKind] = {\n"
    assert head in file.read_text()
    file.write_text(file.read_text().replace(head, head + python_block("BackboneKind(")))

    # WHEN a classifier of three classes sees a picture
    program = (
        "import torch; torch.set_num_threads(1); from backbones import Classifier;"
        "print(tuple(Classifier('resnet34', 'linear', 3, 64)(torch.zeros(1, 3, 64, 64)).shape))"
    )
    done = subprocess.run(
        [JOBS_PYTHON, "-c", program], cwd=scripts, capture_output=True, text=True, timeout=120, check=False
    )

    # THEN it answers
    assert done.stdout == "(1, 3)\n", done.stderr[-2000:]


def test_a_changed_dag_file_is_found_as_soon_as_the_page_says(tmp_path):
    environment = Stack(home=tmp_path).airflow_environment()
    assert f"changed files every {environment['AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL']} s" in " ".join(
        YOUR_OWN.split()
    )
    assert environment["AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"] == "600"
