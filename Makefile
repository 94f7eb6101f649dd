# The front door. `make` lists the targets and the variables; variables, their defaults and the commands
# that take them are in pipelines/options.py. Nothing in it is newer than GNU make 3.81; it is tried with 4.3.

.DEFAULT_GOAL := help
# Where the packages are; test-pythons has one for each Python.
venv := .venv
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
.PHONY: help setup extract train-head train-end-to-end fine-tune promote predict evaluate report info test test-slow test-pythons test-older test-wheel test-tracking test-page test-deploy test-airflow test-mutants bench bench-quick lint format lock clean

# Lines that begin with "## " are what `make help` prints.
## Targets (set-up comes by itself; several at once work: make extract train-head)
##   help        this list
##   setup       make .venv, or bring it up to date
##   extract     run a network over the images of DATA and store their features
##   train-head  train and test a head from stored features
##   train-end-to-end  train a head on the frozen backbone, from augmented images
##   fine-tune   train a head and the last blocks of its backbone on
##   promote     make HEAD_ID, by default the newest head, the current one, if it is no worse
##   predict     label the images of IMAGES with the current head
##   evaluate    did transfer help, and can a head and its data be trusted: the evidence, in minutes
##   report      a page of this evidence: one HTML file
##   info        what is in the store: tables, counts, heads and their scores
##   test        lint, types and all tests but the slow ones
##   test-slow   the slow tests
##   test-pythons the same tests on each Python from 3.11 to 3.13 that is found, each in a .venv-3.1x of its own
##   test-older  the tests of tables and images with pandas 2 and OpenCV 4, in .venv-older
##   test-wheel  build the wheel and the sdist, install each into an empty environment, and run it
##   test-tracking the tests that need MLflow and TensorBoard, which it installs
##   test-page   the tests of the page in a browser, Debian's chromium, which it installs
##   test-deploy check the files of deploy/ with the tools made for them, in .venv-deploy
##   test-airflow run the DAG of deploy/ in a real Airflow, in .venv-airflow
##   test-mutants put small faults into the modules changed since BASE, a revision, and say which ones the tests notice
##   bench       measure this project beside the ways a user would take instead: an hour or so
##   bench-quick the main table of that alone, in five minutes
##   lint        check style and types
##   format      put the code into the house style
##   lock        bring requirements.lock in line with pyproject.toml; ARGS=--upgrade for the newest versions
##   clean       remove .venv and the caches, never the store
##
## Variables: make extract DATA=~/photos STORE=~/store
help:
	@sed -n 's/^## \{0,1\}//p' Makefile
	@python3 pipelines/options.py

# $(call quoted,text): text as one word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'

# $(call flags,command): the flag of each variable that was given, empty or not, and that the command takes. Defaults
# stay with the command, and what is empty is refused by it. $(value …) because a `$` in a path is nothing that make should expand.
flags = $(foreach pair,$(call takes,$(1)),$(call flag,$(firstword $(subst =, ,$(pair))),$(lastword $(subst =, ,$(pair)))))
flag = $(if $(filter undefined default,$(origin $(1))),,$(2)=$(call quoted,$(value $(1))))
takes = $(or $(shell $(some_python) pipelines/options.py $(1)),$(error pipelines/options.py could not be run))
some_python = $$([ -x $(venv)/bin/python ] && echo $(venv)/bin/python || echo python3)

run = @$(venv)/bin/bottlenecks $@ $(call flags,$@) $(ARGS)

extract: setup
	$(run)

# MLflow and TensorBoard are installed when first asked for.
to_train = $(if $(filter --mlflow --tensorboard,$(ARGS)),$(venv)/set-up-tracking,setup)

train-head: $(to_train)
	$(run)

train-end-to-end: $(to_train)
	$(run)

fine-tune: $(to_train)
	$(run)

promote: setup
	$(run)

predict: setup
	$(run)

evaluate: $(venv)/set-up-report
	$(run)

report: $(venv)/set-up-report
	$(run)

info: setup
	$(run)

# Set-up: skipped while the stamp is newer than what it was made from. The stamp holds the folder it was made
# in, because the scripts beside it do too: a clone that was moved is set up again.
stamp := $(venv)/set-up
ifneq "$(shell [ -x $(venv)/bin/python ] && cat $(stamp) 2>/dev/null)" "$(CURDIR)"
.PHONY: $(stamp)
endif

# Sets $$python, in a recipe: the one that PYTHON names, or the first on the PATH that will do.
define find_python
set -- $(if $(PYTHON),$(call quoted,$(patsubst ~/%,$(HOME)/%,$(PYTHON))),python3 python3.13 python3.12 python3.11); \
	for python in "$$@" ''; do \
	    [ -z "$$python" ] || "$$python" -c \
	        'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && break; \
	done; \
	[ -n "$$python" ] || { echo "No Python 3.11, 3.12 or 3.13 with its venv module under the name $$*:" \
	    "install one (on Debian and Ubuntu python3-venv too), or name one: make setup PYTHON=/path/to/python" >&2; exit 1; }
endef

pip_install := $(venv)/bin/python -m pip install --disable-pip-version-check --no-input --no-deps

setup: $(stamp)

# Without a stamp, the folder was left half made, and pip cannot tell which packages are whole: start it again.
# So the stamp goes first and comes last.
$(stamp): requirements.lock pyproject.toml setup.py
	@if [ -x $(venv)/bin/python ] && [ -f $@ ]; then rm $@; else \
	    $(find_python); \
	    rm -rf $(venv); mkdir $(venv); \
	fi; \
	echo "Setting up $(venv): a minute or two; what pip says is in $(venv)/set-up.log" >&2; \
	{ { [ -x $(venv)/bin/python ] || "$$python" -m venv $(venv); } \
	    && $(pip_install) -r requirements.lock \
	    && $(pip_install) --no-build-isolation --editable .; \
	} >$(venv)/set-up.log 2>&1 || { \
	    tail -n 20 $(venv)/set-up.log >&2; \
	    echo "Set-up failed: the whole log is in $(venv)/set-up.log" >&2; \
	    exit 1; \
	}; \
	printf '%s\n' $(call quoted,$(CURDIR)) >$@

# Two processes: each test of a module, or class, in one of them. More would need 3 GB each.
test: lint $(venv)/set-up-report
	@$(venv)/bin/python -m pytest -q -m "not slow" --numprocesses 2 --dist loadscope $(ARGS)

test-slow: $(venv)/set-up-report
	@$(venv)/bin/python -m pytest -q -m slow $(ARGS)

# Each Python on the PATH, or among pyenv's, has a folder of packages of its own; the log of its tests is there too.
test-pythons:
	@results=; code=1; \
	for version in 3.11 3.12 3.13; do \
	    for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python ''; do \
	        [ -z "$$python" ] || "$$python" -c \
	            'import sys, ensurepip, venv; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' \
	            $$version 2>/dev/null && break; \
	    done; \
	    own=.venv-$$version; \
	    if [ -z "$$python" ]; then result="not found"; \
	    elif ! $(MAKE) $$own/set-up-report venv=$$own PYTHON="$$python"; then result="set-up failed"; bad=1; \
	    else \
	        echo "Testing on Python $$version: the log is $$own/test.log" >&2; \
	        code=0; \
	        $$own/bin/python -m pytest -q -m "not slow" -o cache_dir=$$own/pytest $(ARGS) >$$own/test.log 2>&1 || bad=1; \
	        result="$$(tail -n 1 $$own/test.log)"; \
	    fi; \
	    results="$$results  Python $$version: $$result\n"; \
	done; \
	printf '%b' "$$results"; \
	exit $${bad:-$$code}

# What the ranges in pyproject.toml allow besides the locked versions, and much of the ecosystem still asks for. Each
# line takes the place of the locked versions in turn, with a NumPy that all of them agree with (OpenCV 4.12 wants one
# below 2.3). What they need that the locked ones do not, pip adds.
older_packages := \
    numpy==2.1.3,pandas==2.2.3,opencv-python-headless==4.11.0.86 \
    numpy==2.2.6,pandas==2.3.3,opencv-python-headless==4.12.0.88
# The tests of what reads or writes images, tables or frames.
older_tests := tests/features/images tests/features/inputs tests/features/store tests/features/test_extractor.py \
    tests/heads tests/pipelines/test_planning.py tests/pipelines/test_driver.py tests/pipelines/test_predict.py \
    tests/pipelines/test_train.py tests/pipelines/test_cli.py \
    tests/test_old_store.py

test-older:
	@own=.venv-older; \
	$(MAKE) $$own/set-up-report venv=$$own >/dev/null || exit 1; \
	for line in $(older_packages); do \
	    packages=$$(echo $$line | tr , ' '); \
	    echo "Testing with $$packages" >&2; \
	    { $$own/bin/python -m pip install --quiet --disable-pip-version-check --no-input $$packages \
	        && $$own/bin/python -m pip check \
	        && $$own/bin/python -m pytest -q -m "not slow" -o cache_dir=$$own/pytest $(older_tests) $(ARGS); \
	    } || bad=1; \
	done; \
	exit $${bad:-0}

# What users and Beam's workers install. The environments hold nothing before: the metadata say which packages come
# along, the lock says only which versions. The sdist is made as Beam makes it.
test-wheel: setup
	@set -e; \
	rm -rf build dist; \
	$(venv)/bin/python setup.py --quiet sdist; \
	$(venv)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .; \
	for archive in dist/*; do \
	    echo "Installing $$archive into an empty environment: a few minutes" >&2; \
	    rm -rf build; \
	    $(venv)/bin/python -m venv build/environment; \
	    build/environment/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
	        --constraint requirements.lock $$archive; \
	    mkdir build/elsewhere; \
	    (cd build/elsewhere && ../environment/bin/python -I ../../tests/installed.py); \
	done; \
	rm -rf build

test-mutants: $(venv)/set-up-report
	@$(venv)/bin/python tests/mutants.py $(if $(BASE),--base $(call quoted,$(BASE))) $(ARGS)

test-tracking: $(venv)/set-up-tracking
	@$(venv)/bin/python -m pytest -q -m "not slow" tests/heads/test_tracking.py tests/pipelines/test_train.py $(ARGS)

test-page: $(venv)/set-up-report $(venv)/set-up-page
	@command -v chromium >/dev/null || { \
	    echo "Installing Debian's package chromium" >&2; \
	    as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    $$as_root apt-get update -qq && $$as_root apt-get install -qq --no-install-recommends chromium >/dev/null; \
	} || { echo "The browser chromium is missing: install it, and run this again" >&2; exit 1; }
	@$(venv)/bin/python -m pytest -q -m "not slow" tests/heads/page tests/heads/evidence tests/pipelines/test_evaluate.py $(ARGS)

# Airflow asks for other versions than the project does; so do the checkers. Each has an environment of its own.
.venv-airflow/set-up .venv-deploy/set-up: .venv-%/set-up: requirements-%.lock
	@$(find_python); \
	echo "Setting up .venv-$*: a minute or two; what pip says is in .venv-$*/set-up.log" >&2; \
	rm -rf .venv-$*; mkdir .venv-$*; \
	{ "$$python" -m venv .venv-$* \
	    && .venv-$*/bin/python -m pip install --disable-pip-version-check --no-input --no-deps -r $<; \
	} >.venv-$*/set-up.log 2>&1 && touch $@ \
	    || { echo "Set-up failed: the whole log is in .venv-$*/set-up.log" >&2; exit 1; }

test-deploy: setup .venv-deploy/set-up
	@.venv-deploy/bin/python tests/deploy/checkers.py
	@$(venv)/bin/python -m pytest -q tests/deploy $(ARGS)

test-airflow: setup .venv-airflow/set-up
	@$(venv)/bin/python tests/deploy/airflow_runs.py

# Packages that only some need are installed when first needed: for the other ways that `bench` measures, for
# MLflow and TensorBoard, for evidence and its page, and for a browser to test that.
$(venv)/set-up-bench $(venv)/set-up-tracking $(venv)/set-up-report $(venv)/set-up-page: $(venv)/set-up-%: requirements-%.lock $(stamp)
	@$(pip_install) -r $< >>$(venv)/set-up.log 2>&1 && touch $@ \
	    || { echo "Set-up failed: the whole log is in $(venv)/set-up.log" >&2; exit 1; }

bench: $(venv)/set-up-bench
	@$(venv)/bin/python -m benchmarks $(call flags,bench) $(ARGS)

bench-quick: setup
	@$(venv)/bin/python -m benchmarks --quick $(call flags,bench) $(ARGS)

lint: setup
	@$(venv)/bin/python -m ruff check --quiet
	@$(venv)/bin/python -m ruff format --check --quiet
	@$(venv)/bin/python -m mypy

format: setup
	@$(venv)/bin/python -m ruff check --fix
	@$(venv)/bin/python -m ruff format

# uv resolves for every platform and Python at once, which pip cannot. What is locked already stays as it is.
# The other files hold only what their extras add.
lock:
	@$(find_python); \
	tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT INT TERM; \
	resolve() { \
	    "$$tools/bin/uv" pip compile --quiet --python "$$tools/bin/python" --universal --python-version 3.11 \
	        --no-annotate --custom-compile-command 'make lock' "$$@" pyproject.toml $(ARGS); \
	}; \
	more() { \
	    name=$$1; shift; \
	    cp requirements-$$name.lock "$$tools/$$name" 2>/dev/null || true; \
	    resolve "$$@" --constraint requirements.lock --output-file "$$tools/$$name" >/dev/null \
	        && { grep -vxFf requirements.lock "$$tools/$$name" >requirements-$$name.lock; }; \
	}; \
	alone() { \
	    "$$tools/bin/uv" pip compile --quiet --python "$$tools/bin/python" --universal --python-version 3.11 \
	        --no-annotate --custom-compile-command 'make lock' --output-file "$$1" "$$2" $(ARGS) >/dev/null; \
	}; \
	echo "Resolving the versions" >&2; \
	"$$python" -m venv "$$tools" \
	    && "$$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv \
	    && resolve --extra dev --output-file requirements.lock >/dev/null \
	    && more bench --extra bench \
	    && more tracking --extra mlflow --extra tensorboard \
	    && more report --extra report \
	    && more page --extra page-test \
	    && alone requirements-airflow.lock deploy/airflow/requirements.in \
	    && alone requirements-deploy.lock deploy/requirements.in

clean:
	@rm -rf $(venv) .venv-3.1[123] .venv-older .venv-airflow .venv-deploy .mutants build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	@rm -rf .hypothesis
	@find features heads pipelines benchmarks examples tests -name __pycache__ -exec rm -rf {} +
