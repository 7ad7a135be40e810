# Every target sets up its own virtual environment first; a second call finds it ready.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Of another environment, from which make may be called: IPython would warn of it.
unexport VIRTUAL_ENV

# On Linux, PyPI's torch brings gigabytes of CUDA along; these small networks train on the CPU.
# `make TORCH_INDEX= serve` takes PyPI's build. Where the index cannot be reached, pip falls back to PyPI by itself.
ifeq ($(shell uname -s),Linux)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif

.PHONY: serve lab quick test lint types format notebooks docs site bench audit

serve: $(READY)  ## the gallery as dashboards in the browser; ARGS="--port 9000" passes options on
	@# Meanwhile, while nobody needs the core, the programs of all notebooks; where nothing can be kept, it says so.
	nice -n 19 $(BIN)/dyntoolkit warm > /dev/null & trap "kill $$! 2> /dev/null" EXIT INT TERM; \
		$(BIN)/dyntoolkit serve $(ARGS)

lab: $(READY)  ## the notebooks in JupyterLab
	$(BIN)/dyntoolkit lab $(ARGS)

quick: export HYPOTHESIS_PROFILE = quick
quick: lint types  ## while you work: style, types and the quick tests, a minute or so
	$(BIN)/pytest -n 2 --dist worksteal -q -m "not slow and not claims and not browser" --ignore=tests/notebooks --ignore=tests/browser

# On a busy machine a browser may miss a moment: its tests are tried again, and what fails twice fails. They wait,
# too, so there are three at once.
test: export HYPOTHESIS_PROFILE = ci
test: lint types  ## everything that must pass before a change goes in
	$(BIN)/pytest -n 2 --dist worksteal --ignore=tests/browser
	$(BIN)/pytest -n 2 --dist loadscope --nbval-lax notebooks
	$(BIN)/pytest -n 3 --dist loadscope --reruns 1 tests/browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings dyntoolkit

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(READY)  ## run every notebook again and store its text and pictures
	$(BIN)/python .ci/store_notebooks.py notebooks

# Into folders that git does not know; each takes the place of the one before.
docs: $(READY)  ## the static site with stored pictures only: a look at its text, in half a minute
	$(BIN)/dyntoolkit site build/docs --values 0

site: $(READY)  ## the static site in full, with runs to move sliders over; ARGS="--live URL" links to a server
	$(BIN)/dyntoolkit site build/site $(ARGS)

bench: $(READY)  ## how fast networks train, against PyTorch and JAX by hand: a quarter of an hour; ARGS="--runs 1" for a part
	$(BIN)/python benchmarks/engine.py $(ARGS)

audit: $(READY)  ## the pinned versions against known advisories, which are asked for over the network
	test -x $(VENV)-audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)-audit && $(VENV)-audit/bin/pip install -q pip-audit; }
	$(VENV)-audit/bin/pip-audit --no-deps --disable-pip -r constraints.txt

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dyntoolkit needs Python 3.11 or newer, found `$(PYTHON) --version`; say which one: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-deps --retries 1 $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		`grep '^torch==' constraints.txt`
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@
