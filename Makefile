# Everything a developer types. Needs Python 3.11 to 3.13 and make, nothing else; every target can be repeated.

PYTHON ?= python3
DATASET ?=
LOCAL_AWS_PORT ?= 4566
AIRFLOW_PORT ?= 8080
# How long an AWS minute lasts in the local AWS: metrics, alarms and cool-downs follow it.
AWS_MINUTE ?= 2s
# Which of MWAA's Airflows `make package` packs for; the newest without it.
AIRFLOW ?=
# Which of infra/environments/ `make deploy`, `make doctor` and `make destroy` are for; DRY_RUN=1 only looks and says what would be
# done; DRY_RUN=changeset has CloudFormation make change sets as well, shows them and removes them. CONFIRM=<bucket> lets
# destroy delete what is in it without asking.
ENV ?=
DRY_RUN ?=
CONFIRM ?=
# The port of a local AWS whose calls `make prove-least-privilege` goes by, instead of the recorded ones.
CALLS ?=

OLDER = $(addprefix -,$(filter-out $(shell sed -n 's/^apache-airflow==//p' requirements/airflow.in),$(AIRFLOW)))

export LOCAL_AWS_PORT AIRFLOW_PORT AWS_MINUTE
# Some shells, those of container images for instance, have Python forget what it has compiled: each start of Airflow
# would take two seconds longer, and each process of the tests as well.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help environments demo test check test-airflow test-clients test-compose up down status lint docs package deploy doctor destroy bench prove-least-privilege images prices lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables: PYTHON=$(PYTHON) DATASET=$(DATASET) LOCAL_AWS_PORT=$(LOCAL_AWS_PORT) AIRFLOW_PORT=$(AIRFLOW_PORT) AWS_MINUTE=$(AWS_MINUTE)"

environments:
	@$(PYTHON) tools/environments.py

demo: environments ## run the whole chain, on DATASET=<folder, .zip, .tgz, http(s) or s3:// address> or on drawn pictures
	@.venv/bin/python -m tools.demo "$(DATASET)"

test: environments ## lint, and pass all tests
	@$(PYTHON) tools/environments.py aws-cli
	@$(PYTHON) tools/run_tests.py

check: environments ## lint, and the quick tests; then which modules these do not reach
	@$(PYTHON) tools/run_tests.py quick

up: environments ## start the local AWS and Airflow with its UI; does nothing when they are up
	@.venv/bin/python -m tools.stack up

down: ## stop both, and everything they started
	@if [ -x .venv/bin/python ]; then .venv/bin/python -m tools.stack down; else echo "Nothing is up."; fi

status: ## say what is up, and where
	@if [ -x .venv/bin/python ]; then .venv/bin/python -m tools.stack status; else echo "Nothing is up."; fi

lint: ## check style and formatting
	@$(PYTHON) tools/environments.py airflow
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .

docs: ## write the pages of docs/ anew that are made from the code
	@$(PYTHON) tools/environments.py airflow
	@.venv/bin/python -m tools.reference_docs

package: ## pack what is committed as Amazon MWAA takes it, into build/mwaa; AIRFLOW=3.2.1 for its older line
	@$(PYTHON) tools/environments.py airflow$(OLDER)
	@.venv$(addprefix -airflow,$(OLDER))/bin/python -m tools.package

deploy: ## bring the project into an account, with Airflow on MWAA: ENV=<name in infra/environments/>, DRY_RUN=1 to only look, DRY_RUN=changeset to have CloudFormation say what it would change
	@$(PYTHON) tools/environments.py airflow$(OLDER)
	@.venv$(addprefix -airflow,$(OLDER))/bin/python -m tools.deployment deploy "$(ENV)" --dry-run "$(DRY_RUN)"

doctor: ## say what an account lacks of what the DAGs need, and how to get it; it only reads: ENV=<name>
	@$(PYTHON) tools/environments.py airflow
	@.venv/bin/python -m tools.deployment doctor "$(ENV)"

destroy: ## take it out again: ENV=<name>, DRY_RUN=1; the bucket's contents only after CONFIRM=<bucket>, or when its name is typed
	@$(PYTHON) tools/environments.py airflow
	@.venv/bin/python -m tools.deployment destroy "$(ENV)" --dry-run "$(DRY_RUN)" --confirm "$(CONFIRM)"

test-airflow: environments ## parse the DAGs and the package, and test the operators, on MWAA's older line: AIRFLOW=3.2.1
	@$(PYTHON) tools/environments.py airflow-$(or $(AIRFLOW),3.2.1)
	@.venv-airflow-$(or $(AIRFLOW),3.2.1)/bin/python -m pytest -q -p no:cacheprovider tests/dags tests/plugins \
		tests/tools/test_package.py tests/tools/test_local_executor.py tests/chain/test_training_jobs.py

test-clients: environments ## run the AWS CLI's commands and SageMaker's Python SDK 2 against the local AWS
	@$(PYTHON) tools/environments.py aws-cli sagemaker-2
	@MUSHER_ALL_COMMANDS=1 .venv/bin/python -m pytest -q -p no:cacheprovider tests/local_aws/clients

test-compose: environments ## bring docker-compose.yaml up in Docker, or in a private engine as root on Debian, and run the chain in it
	@.venv/bin/python -m tests.compose.run

bench: environments ## print the measured comparisons
	@.venv/bin/python tools/run_benchmarks.py

prove-least-privilege: environments ## say what of the roles' policies could change without being noticed: nothing; CALLS=4566 for what a local AWS has seen
	@.venv/bin/python -m tools.iam.prove $(addprefix --port ,$(CALLS))

images: ## fail when AWS's support of an image that is used here has ended or ends within 60 days, and nobody says why it is used
	@$(PYTHON) tools/environments.py airflow
	@.venv/bin/python -m pytest -q -p no:cacheprovider tests/plugins/test_images.py -W "error:new"

prices: ## refresh the price table from AWS's own prices; needs AWS credentials
	@$(PYTHON) tools/environments.py airflow
	@.venv/bin/python -m tools.refresh_prices

lock: ## resolve requirements/*.in anew into the pins
	@$(PYTHON) tools/environments.py --lock

clean: down ## remove the environments and everything that runs have left in this folder
	rm -rf .venv .venv-airflow-* .venv-aws-cli .venv-ml .venv-sagemaker-2 .venv-uv .airflow .local_aws build .pytest_cache .ruff_cache
