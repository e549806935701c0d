# `make` alone explains every target. The work is done by small programs that can be read and tested:
# src/workshop_utils/bootstrap*.py (environment, start) and tests/run_all.py (all tests).
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
TORCH ?=
ARGS ?=
PREFIX ?=
VENV := $(or $(WORKSHOP_VENV),.venv)
BIN := $(VENV)/bin
BOOTSTRAP = $(PYTHON) src/workshop_utils/bootstrap.py --torch "$(TORCH)"
# With CI=true the first plugin turns every skipped test into a failure; the second lets tests send signals.
PYTEST = PYTHONPATH=tests/plugins "$(BIN)"/python -m pytest -p no_silent_skips -p heeded_signals

##@ The workshop
.PHONY: lab
# Through the environment: between quotes of a command line, quotes in ARGS would be lost.
lab: export WORKSHOP_ARGS = $(ARGS)
lab: ## open the workshop; options: make lab ARGS="--no-browser --port 8899"
	@$(BOOTSTRAP) lab

.PHONY: environment
environment: ## only make or update the environment, and stop
	@$(BOOTSTRAP) environment

.PHONY: clean
clean: ## remove the environment and the built panel; the next `make lab` makes them anew
	@$(BOOTSTRAP) clean

##@ On a cluster
.PHONY: install
install: ## one read-only install for a whole class: make install PREFIX=/project/class/workshop
	@test -n "$(PREFIX)" || { echo 'make: PREFIX is empty; name a new folder that the class may read: make install PREFIX=/project/class/workshop' >&2; exit 2; }
	@$(BOOTSTRAP) install "$(PREFIX)"

.PHONY: test-gpu
test-gpu: environment ## verify this machine's GPUs and write reports/gpu-report-HOST-DATE.json
	@"$(BIN)"/python tests/gpu/verify.py $(ARGS)

##@ Tests
.PHONY: test
test: test-environment chromium proxies slurm ood ## everything that CI runs, in parallel where that is sound
	@"$(BIN)"/python tests/run_all.py

.PHONY: test-environment
test-environment:
	@$(BOOTSTRAP) environment --extra test

# Debian's browser, where it is missing and may be installed; elsewhere the tests that need one say so.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } || true

# Apache and nginx, between which and a session the panel is tried; RUNLEVEL=1 keeps Debian from starting them.
.PHONY: proxies
proxies:
	@{ command -v apache2 && command -v nginx; } >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
	  { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends apache2-bin nginx-light; } || true

# A real Slurm with its accounting; nothing of it is started but by a test, in a scratch folder.
.PHONY: slurm
slurm:
	@{ command -v slurmctld && command -v slurmd && command -v munged && command -v slurmdbd && command -v mariadbd && command -v shellcheck; } >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
	  { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm slurmctld slurmd slurm-client munge slurmdbd slurm-wlm-mysql-plugin mariadb-server shellcheck; } || true

# Ruby, which renders an Open OnDemand app as the portal does, and shellcheck for the scripts that come of it.
.PHONY: ood
ood:
	@{ command -v ruby && command -v shellcheck; } >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
	  { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ruby shellcheck; } || true

.PHONY: test-lint
test-lint: ## ruff (lint and format) and mypy
	@status=0; \
	"$(BIN)"/ruff check . || status=1; \
	"$(BIN)"/ruff format --check . || status=1; \
	"$(BIN)"/mypy || status=1; \
	exit $$status

.PHONY: test-panel
test-panel: ## the panel's formatting, types and unit tests
	@cd jupyter_extension && PATH="$$(cd "$(CURDIR)" && cd "$(BIN)" && pwd):$$PATH" && jlpm install --immutable && jlpm lint && jlpm test

.PHONY: test-unit
test-unit: ## unit tests; one room: make test-unit ARGS=tests/memory
	@$(PYTEST) -n 2 --dist=loadfile --ignore=tests/install $(ARGS)

.PHONY: bench-panel
bench-panel: test-environment ## measure the panel beside jupyterlab-nvdashboard, in one run
	@"$(BIN)"/python tests/workshop_monitor/bench_panel.py $(ARGS)

.PHONY: bench-browser
bench-browser: test-environment chromium ## measure what the panel costs the browser
	@"$(BIN)"/python tests/ui/bench_renderer.py $(ARGS)

.PHONY: bench-soak
bench-soak: test-environment ## 200 clients of the panel for half an hour, two of which never read
	@"$(BIN)"/python tests/workshop_monitor/bench_soak.py $(ARGS)

.PHONY: bench-strip
bench-strip: test-environment ## measure what a live strip costs its kernel
	@"$(BIN)"/python tests/widgets/bench_live_strip.py $(ARGS)

.PHONY: test-notebooks
test-notebooks: ## every notebook twice: as a reader who runs all, and with solutions
	@"$(BIN)/workshop" model prepare >/dev/null; status=0; \
	$(PYTEST) -c tests/notebooks/pytest.ini $(ARGS) || status=1; \
	WORKSHOP_SOLUTIONS=1 $(PYTEST) -c tests/notebooks/pytest.ini $(ARGS) || status=1; \
	exit $$status

.PHONY: test-ui
test-ui: ## the browser test: the README's command, notebook 01, calculator, panel
	@$(PYTEST) -c tests/ui/pytest.ini tests/ui $(ARGS)

.PHONY: test-install
test-install: ## a class's shared install under a second user, and a JupyterLab that was there before
	@$(PYTEST) --timeout 900 tests/install $(ARGS)

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; sed -n 's/^#| \{0,1\}//p' $(MAKEFILE_LIST)

#| Variables
#|   PYTHON=python3.12        the Python to start from (3.11 or 3.12)
#|   TORCH=pypi               the pinned PyTorch of the package index (default for a new environment;
#|                            later starts keep the build that is there)
#|   TORCH=auto               PyTorch's build for this machine's driver, chosen by uv; on a login node without
#|                            a GPU name the build: TORCH=cpu, cu126, cu128 or cu130, or the driver that the
#|                            GPU nodes have: UV_CUDA_DRIVER_VERSION=550.54 TORCH=auto
#|   TORCH=site               the centre's own: load its module first; needs torch 2.11 or newer
#|   WORKSHOP_VENV=FOLDER     where the environment goes. Without it: .venv; on a cluster, scratch with .venv
#|                            leading there ($SCRATCH or /scratch/$USER)
#|   WORKSHOP_CACHE=FOLDER    where the model and the caches of pip, npm, Hugging Face, Triton … go
