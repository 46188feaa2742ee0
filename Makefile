# Everything that a person or CI does here. `make help` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
BUF := node_modules/.bin/buf
BENCH := modelry -o backend=sqlite --tag sqlite

# The first of these that runs, is 3.11 or newer and can make environments. PYTHON=... decides otherwise.
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11 python3 python3.14 python \
	$(wildcard $(HOME)/.pyenv/versions/3.1[1-9].*/bin/python3)
define FIND_PYTHON
for python in $(PYTHONS); do \
	if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	python=; \
done; \
if [ -z "$$python" ]; then \
	echo "No Python 3.11 or newer that can make a virtual environment was found." >&2; \
	echo "Install one (on Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1; \
fi
endef

.PHONY: help
help: ## list what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- environments --------------------------------------------------------------------------------------------------

# pip tells each package of a megabyte or more as it comes, and when it begins to unpack, which takes as long again.
define INSTALL
PYTHONUNBUFFERED=1 $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt \
	-e '.[$(EXTRAS)]' | while IFS= read -r line; do case "$$line" in \
	*Downloading*" MB)"* | *"Using cached"*" MB)"*) echo "$$line" ;; \
	"Installing collected packages"*) echo "  Unpacking $$(wc -w <<< "$${line#*:}") packages, a minute or two" ;; \
	esac; done
endef

.venv/created:
	@$(FIND_PYTHON); \
	echo "Making .venv with $$("$$python" --version)"; \
	"$$python" -m venv --clear .venv
	@touch $@

.venv/demo-ready: EXTRAS := server,cli,models,demo
.venv/demo-ready: .venv/created pyproject.toml constraints.txt
	@echo "Installing what the demo needs (once): about 700 MB, a few minutes"
	@$(INSTALL)
	@touch $@

.venv/dev-ready: EXTRAS := server,cli,models,files,system,demo,peers,dev
.venv/dev-ready: .venv/created pyproject.toml constraints.txt
	@echo "Installing the platform and the tools for working on it (once)"
	@$(INSTALL)
	@touch .venv/demo-ready $@

protos/node_modules/ready: protos/package.json protos/package-lock.json
	@command -v npm >/dev/null || { \
		echo "npm was not found: buf, which checks the contracts, comes as an npm package. Install Node.js 18 or newer" \
			"(on Debian: apt-get install nodejs npm)." >&2; exit 1; }
	@cd protos && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

.cache/oidc-provider/ready: tests/parts/oidc/package.json tests/parts/oidc/package-lock.json
	@command -v npm >/dev/null || { \
		echo "npm was not found: the OpenID provider that the tests log in to comes as an npm package. Install Node.js" \
			"18 or newer (on Debian: apt-get install nodejs npm)." >&2; exit 1; }
	@mkdir -p .cache/oidc-provider && cp $^ .cache/oidc-provider
	@cd .cache/oidc-provider && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

.PHONY: oidc-provider
oidc-provider: .cache/oidc-provider/ready ## install the OpenID provider that the tests log in to (needs npm; once, seconds)

.PHONY: setup
setup: .venv/dev-ready ## make .venv with everything for development; nothing to do when nothing changed

# --- the contract --------------------------------------------------------------------------------------------------

.PHONY: protos
protos: .venv/created ## make the generated code from protos/
	@$(BIN)/python protos/generate.py

# --- proof ---------------------------------------------------------------------------------------------------------

.PHONY: check
check: style types layers contracts rules ## all checks, a minute; `make -k check` goes on after the first that fails

.PHONY: style
style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: setup
	$(BIN)/mypy

.PHONY: layers
layers: setup
	$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter

.PHONY: contracts
contracts: protos/node_modules/ready
	cd protos && $(BUF) lint && $(BUF) format --diff --exit-code
	@$(BREAKING)

.PHONY: rules
rules: setup
	$(BIN)/python -m pytest -q tests/architecture

# The contracts are compared with the last release; before the first one with what everybody has, origin/main, or with
# the branch main where there is no such remote. A clone that knows none of these says so and passes: it can't find out.
# BREAKING_AGAINST=REF decides otherwise. Needs no network and no history.
define BREAKING
old=; \
for candidate in $(BREAKING_AGAINST) "$$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)" \
	origin/main main; do \
	if [ -n "$$candidate" ] && git cat-file -e "$$candidate:protos/modelry" 2>/dev/null; then old=$$candidate; break; fi; \
done; \
if [ -z "$$old" ]; then echo "buf breaking: this clone knows no older contracts, nothing to compare with"; else \
	echo "buf breaking --against $$old ($$(git rev-parse --short "$$old"))"; \
	rm -rf .cache/old; mkdir -p .cache/old; \
	git archive "$$old" protos/modelry protos/buf.yaml | tar -x -C .cache/old; \
	cd protos && $(BUF) breaking --against ../.cache/old/protos; \
fi
endef

# What takes more than a third of the time of all tests, and has a target of its own. Faults are timed, and run alone.
SLOW := tests/python/files tests/python/fluent tests/python/packaging/test_checking.py \
	tests/python/packaging/test_shared_machines.py tests/python/recording tests/python/transport tests/python/credentials \
	tests/cli/test_authentication.py tests/cli/test_login.py tests/cli/test_up.py tests/examples tests/docs
FAULTS := tests/faults

# Two processes, each with parts of its own: servers, PostgreSQL, MinIO. PARALLEL= runs all in one.
PARALLEL := -n 2 --dist loadfile

.PHONY: test
test: setup minio-if-possible oidc-provider ## run the tests: SQLite, a real PostgreSQL, a real MinIO
	$(BIN)/python -m pytest --durations=10 $(PARALLEL) $(patsubst %,--ignore=%,$(SLOW) $(FAULTS))

.PHONY: test-faults
test-faults: setup minio-if-possible oidc-provider ## run the tests that kill, starve and fork, those of runs, delivery, logins, examples and pages: some 20 minutes
	$(BIN)/python -m pytest --durations=10 $(FAULTS)
	$(BIN)/python -m pytest --durations=10 $(PARALLEL) $(SLOW)

.PHONY: test-oldest-postgres
test-oldest-postgres: setup ## run the tests of the database on the oldest PostgreSQL that is supported
	MODELRY_TEST_OLDEST_POSTGRES=1 $(BIN)/python -m pytest -q $(PARALLEL) -k postgres15

.PHONY: test-families
test-families: setup ## run the tests of models with real frameworks, each family in an environment of its own
	$(BIN)/python tests/families/run.py

.PHONY: minio-if-possible
minio-if-possible:
	@if command -v go >/dev/null && ! command -v minio >/dev/null && [ -z "$${MODELRY_TEST_S3_ENDPOINT:-}" ] \
		&& ! docker info >/dev/null 2>&1; then $(MAKE) --no-print-directory minio \
		|| echo "MinIO could not be built; its tests will say so" >&2; fi

.PHONY: bench
bench: setup ## measure the shared workloads; BENCH='modelry -o backend=postgres -w W1,W3' chooses
	$(BIN)/python tests/bench/run.py $(BENCH)

# --- a real MinIO --------------------------------------------------------------------------------------------------

.PHONY: minio
minio: .cache/bin/minio ## build the object store that the tests use (needs Go; once, about two minutes)

.cache/bin/minio:
	@command -v go >/dev/null || { echo "go was not found: MinIO is built from its Go module" >&2; exit 1; }
	@echo "Building MinIO $(MINIO_VERSION) into .cache/bin (once, about two minutes)"
	@mkdir -p .cache/bin
	@GOBIN=$(CURDIR)/.cache/bin CGO_ENABLED=0 go install -v github.com/minio/minio@$(MINIO_VERSION) 2>&1 \
		| awk 'NR % 100 == 0 { printf "  %d packages compiled\n", NR; fflush() } /^go: |^# |\.go:[0-9]/ && !/downloading/ { print }'
	@$@ --version | head -1

# --- trying it -----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: .venv/demo-ready ## start the platform, train real models, register and promote the best one
	@$(BIN)/python clients/examples/train_and_promote.py

.PHONY: clean
clean: ## remove environments, caches and what was built
	rm -rf .venv .cache build dist protos/node_modules .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.egg-info' -type d -prune -exec rm -rf {} +
