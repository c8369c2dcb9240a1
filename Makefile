# Every target does all the set-up it needs, from a fresh clone on a machine with Python 3.11 or 3.12, git and make.
#
#   OLTR_TORCH_BACKEND=cpu make loop    another build of torch (cpu, cu126, cu130 ... : uv's --torch-backend) for those
#                                       who can reach PyTorch's own index; without it, what requirements.lock names
#   PYTHON=/path/to/python3.12          another interpreter than the first that is found

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && command -v $(name))))
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# Label Studio's server does not fit our lock: it has an environment of its own, unless OLTR_LABEL_STUDIO names another
STUDIO := .venv-label-studio
STUDIO_VERSION := 1.23.2
# the digests of the lock files are those of PyPI's builds
TORCH := $(if $(OLTR_TORCH_BACKEND),--no-verify-hashes --torch-backend $(OLTR_TORCH_BACKEND))
export PATH := $(BIN):$(PATH)
export DO_NOT_TRACK = 1
export DVC_NO_ANALYTICS = 1
export GX_ANALYTICS_ENABLED = False
export MLFLOW_DISABLE_TELEMETRY = true
export PREFECT_SERVER_ANALYTICS_ENABLED = false

# two workers; the tests that share a costly fixture run in one of them (tests/conftest.py)
IN_PARALLEL := -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: help loop test coverage test-services test-soak audit licenses generated clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

loop: $(VENV)/.installed  ## install everything, then run the loop on real images with embedded services
	@$(BIN)/oltr loop

test: $(VENV)/.installed-dev  ## install everything, then lint, format, types, architecture and the test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest $(IN_PARALLEL)

coverage: $(VENV)/.installed-dev  ## the test suite, and the share of each folder's lines that it executes
	$(BIN)/coverage erase
	$(BIN)/python -m pytest $(IN_PARALLEL) --cov --cov-report=
	@for folder in oltr_core oltr_core/*/ tasks tasks/*/ flows; do \
		case $$folder in *__pycache__*) continue;; esac; \
		printf '%-28s %4s %%\n' $${folder%/} $$($(BIN)/coverage report --include="$${folder%/}/*" --format=total); done

test-services: export OLTR_LABEL_STUDIO := $(or $(OLTR_LABEL_STUDIO),$(CURDIR)/$(STUDIO)/bin/label-studio)
test-services: $(VENV)/.installed-dev $(if $(OLTR_LABEL_STUDIO),,$(STUDIO)/.$(STUDIO_VERSION))  ## tests that start real servers
	$(BIN)/python -m pytest -m services

test-soak: $(VENV)/.installed-dev  ## 260 kills, full disks, services down and failing; then a sample of small wrong changes
	$(BIN)/python -m tests.soak
	$(BIN)/python -m tests.mutation --by-hand
	$(BIN)/python -m tests.mutation

audit: $(VENV)/.uv  ## weaknesses that are known of what requirements.lock pins; asks the package index
	$(BIN)/uv tool run --from pip-audit==2.10.1 pip-audit --strict --require-hashes --disable-pip -r requirements.lock

licenses: $(VENV)/.installed  ## the licence of every package that is installed, as a table
	@$(BIN)/uv tool run --from pip-licenses==5.5.5 pip-licenses --python $(BIN)/python --from=mixed --format=markdown

generated: $(VENV)/.installed  ## write dvc.yaml, params.yaml and the other generated files anew from the code
	$(BIN)/python -m tasks.workspace .
	$(BIN)/python -m oltr_core.benchmark.catalogue
	$(BIN)/python -m oltr_core.benchmark.large_sets

clean:  ## forget this workspace's generations, after asking; never touches your images
	@test -x $(BIN)/oltr || { echo "nothing to forget"; exit 0; }; $(BIN)/oltr clean

$(VENV)/.uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed and was not found; name it: PYTHON=/path/to/python3.12 make $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.9"
	@touch $@

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/.uv
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode $(TORCH) -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode $(TORCH) -r requirements-dev.lock
	@touch $@

$(STUDIO)/.$(STUDIO_VERSION): | $(VENV)/.uv
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(STUDIO)
	$(BIN)/uv pip install --python $(STUDIO)/bin/python label-studio==$(STUDIO_VERSION)
	@touch $@
