# make search and make test do all the set-up they need.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: search test test-all check docs format ui help

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

search: $(READY) ## search the MLP space on digits: 40 children, then how to look at them
	$(BIN)/nasrunner $(ARGS)

ui: $(READY) ## open the results: http://127.0.0.1:5000
	$(BIN)/mlflow ui --backend-store-uri sqlite:///outputs/mlflow.db --port $(or $(PORT),5000)

# Tests start hundreds of processes: none should compile again what another one has compiled.
test test-all: export PYTHONDONTWRITEBYTECODE =
test: $(READY) ## the default tests, a few minutes
	$(BIN)/pytest

test-all: $(READY) ## every test, slow ones and whole matrices too
	$(BIN)/pytest -m "not gpu"

check: $(READY) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: export PIP_CONSTRAINT = constraints.txt
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(READY) ## the pages as a site: docs/site/index.html
	$(BIN)/pip install --quiet --group docs
	$(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml

format: $(READY) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The second variable pins what pip builds this package with.
$(READY): export PIP_CONSTRAINT = constraints.txt
$(READY): export PIP_BUILD_CONSTRAINT = constraints.txt
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nasrunner needs Python >= 3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[export,huggingface,slurm,postgresql,tensorboard,wandb]' --group dev
	touch $@
