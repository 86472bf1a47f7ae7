PYTHON ?= python3
PYTEST_ARGS ?=
BUILDIFIER ?= buildifier
FUZZ_SECONDS ?= 600
NOTEBOOK_PROCESSES ?= 2
FUZZERS := decode symbols delegate

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
NATIVE := $(shell find tfcompress/native -name CMakeLists.txt -o -name '*.[ch]')
ANDROID_C := $(wildcard android_demo/*/*.[ch])
LOCK := .ci/constraints.txt
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

HAS_JDK = for program in javac mvn zip unzip; do command -v $$program >/dev/null || { \
  echo "The Android demo needs $$program:" \
  "apt install openjdk-17-jdk-headless maven zip unzip" >&2; exit 1; }; done
MVN_CORE = mvn -B -q -f android_demo/core/pom.xml

.DEFAULT_GOAL := help
.PHONY: help demo test test-scale notebooks notebooks-update layout test-arm android test-android android-gradle results stale rerun fuzz wheel docs lint format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## Compress a small model and show the gains
	$(BIN)/tfcompress demo --output build/demo

test: $(INSTALLED) ## Run the tests and the doctests (PYTEST_ARGS="tests/core -x")
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --ignore=tests/scale $(PYTEST_ARGS)

test-scale: $(INSTALLED) ## Train and search with several processes, some of which are killed
	$(BIN)/python -m pytest -q -n0 tests/scale

notebooks: $(INSTALLED) ## Execute the notebooks; nothing is written
	ls notebooks/*.ipynb | xargs -n 1 -P $(NOTEBOOK_PROCESSES) $(BIN)/python notebooks/execute.py

notebooks-update: $(INSTALLED) ## Execute the notebooks and store their outputs
	$(BIN)/python notebooks/execute.py --update

layout: $(INSTALLED) ## Compare our declarations of TFLite with the official header
	$(BIN)/python tests/native/check_layout.py

test-arm: $(INSTALLED) ## Compare the native core on emulated arm64 with this machine
	PYTHONPATH=. $(BIN)/python tests/arm/run.py

android: $(INSTALLED) ## Build and check the Android demo without Gradle or the NDK
	@$(HAS_JDK)
	tests/arm/prepare.sh build/arm64
	$(BIN)/python android_demo/tools/build_native.py --zig build/arm64/host/ziglang
	$(BIN)/python android_demo/tools/bundle_models.py build/android/models
	android_demo/tools/build_apk

test-android: android ## Test the Android demo on this machine
	@android_demo/tools/retry $(MVN_CORE) -U test -Dmaven.main.skip -Dmaven.test.skip
	@$(MVN_CORE) test
	$(BIN)/python -m pytest -q -n auto --maxprocesses 2 --dist loadfile android_demo/tests
	android_demo/tools/test_screens
	android_demo/tools/test_screens --dex

android-gradle: android ## Build the Android demo with the Android Gradle Plugin
	android_demo/tools/check_gradle

results: $(INSTALLED) ## Generate the pages and tables from docs/results
	$(BIN)/python tests/benchmarks/results.py write

stale: $(INSTALLED) ## List results whose code has changed since
	$(BIN)/python tests/benchmarks/results.py stale

rerun: $(INSTALLED) ## Repeat the measurements that take about a minute, and compare
	$(BIN)/python tests/benchmarks/rerun.py

fuzz: $(INSTALLED) ## Run each fuzzer of the native core (FUZZ_SECONDS=600; needs clang)
	$(BIN)/cmake -S tfcompress/native -B build/fuzz -DTFC_FUZZ=ON -DCMAKE_C_COMPILER=clang
	$(BIN)/cmake --build build/fuzz --parallel
	@for target in $(FUZZERS); do \
	  mkdir -p build/fuzz/$$target && build/fuzz/fuzz_$$target \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2560 \
	    -artifact_prefix=build/fuzz/$$target. -print_final_stats=1 -verbosity=0 \
	    build/fuzz/$$target tests/native/corpus/$$target || exit 1; \
	done

docs: $(INSTALLED) ## Build the documentation site in build/docs, and fail where a link is broken
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build -f docs/site/mkdocs.yml

wheel: $(INSTALLED) ## Build the wheel and use it in a clean environment
	.ci/wheel $(BIN)/python

lint: $(INSTALLED) ## Check style, imports, types and words; BUILD only if buildifier is found
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python .ci/check_words
	$(BIN)/pre-commit validate-config
	$(BIN)/clang-format --dry-run --Werror $(filter %.c %.h,$(NATIVE)) $(ANDROID_C)
	@if command -v $(firstword $(BUILDIFIER)) >/dev/null; then \
	  $(BUILDIFIER) --mode=check --lint=warn --warnings=-native-py BUILD; \
	else echo "$(BUILDIFIER) not found: BUILD not checked"; fi

format: $(INSTALLED) ## Fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(filter %.c %.h,$(NATIVE)) $(ANDROID_C)

lock: ## Pin the newest compatible versions in .ci/constraints.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --upgrade setuptools cmake ninja
	$(PIP_INSTALL) -e '.[all,test,dev]'
	$(BIN)/python -m pip freeze --all --exclude pip --exclude tfcompress > $(LOCK)

clean: ## Remove the environment and everything built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find tfcompress tests -name __pycache__ -prune -exec rm -rf {} +

# The lock file pins TensorFlow 2.21, which has no wheels for Python 3.14.
$(INSTALLED): setup.py pyproject.toml $(LOCK) $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  2>/dev/null || { echo "tfcompress needs Python 3.11, 3.12 or 3.13, but" \
	  "$(PYTHON) is not: run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing into $(VENV): 2.9 GB, about a minute"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) -c $(LOCK) --upgrade setuptools cmake ninja
	@$(PIP_INSTALL) -c $(LOCK) --no-build-isolation -e '.[test,dev]'
	@touch $@
