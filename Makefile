# make book | test | lint | smoke | bench    Each sets up the environment it needs; the second time that is instant.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PEERS := $(VENV)/.stamp-peers
EXTRAS_OF_.stamp := book,dev
EXTRAS_OF_.stamp-peers := book,dev,bench
TORCH = $(shell grep -E '^(torch|torchvision)==' constraints.txt)
RECENT := import sys; sys.exit(sys.version_info < (3, 11))

# What the caller's shell has set up for other projects must not reach this one's environment.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX PIP_CONSTRAINT PIP_REQUIREMENT \
         PIP_REQUIRE_VIRTUALENV UV_SYSTEM_PYTHON UV_CONSTRAINT UV_OVERRIDE UV_TORCH_BACKEND
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_CACHE_DIR := 1

.PHONY: book test lint smoke bench setup
.DELETE_ON_ERROR:

book: $(STAMP)
	@$(BIN)/fglib book

# One worker for each processor, one thread for each worker; a file's tests stay together and share what they train.
# Files go to the workers in their order, so that the longest, which builds the book, starts among the first.
test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# Every chapter at the preset smoke; between them the chapters train every method.
smoke: $(STAMP)
	@set -e; for chapter in book/[0-9]*.ipynb; do \
	  echo "fglib chapter $$(basename "$$chapter" .ipynb) --preset smoke"; \
	  $(BIN)/fglib chapter "$$(basename "$$chapter" .ipynb)" --preset smoke; \
	done

# Every benchmark beside its peers, on a machine that does nothing else; records go to the book, targets are summed up.
RECORDS := book/results/benchmarks
SCRIPTS := $(filter-out %/measure.py %/record.py,$(wildcard benchmarks/*.py))

bench: $(PEERS)
	@set -e; for script in $(SCRIPTS); do \
	  $(BIN)/python "$$script" --out "$(RECORDS)/$$(basename "$$script" .py).json"; \
	done
	@$(BIN)/python benchmarks/record.py $(RECORDS)

setup: $(STAMP)

# A virtual environment of the first Python that is recent enough, uv inside it unless uv is at hand, then torch
# first and pinned, so that no other package chooses its build. All of it is compiled: where Python may not write
# bytecode, every process would compile what it imports, for seconds. uv does not read pip's settings: a registry
# named there is handed on.
$(PEERS): $(STAMP)
$(STAMP) $(PEERS): pyproject.toml constraints.txt
	@set -e; \
	if ! $(BIN)/python -c '$(RECENT)' 2>/dev/null; then \
	  python=; \
	  for candidate in python3.11 python3.12 python3.13 python3.14 python3; do \
	    if "$$candidate" -c '$(RECENT)' 2>/dev/null; then python=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "make: no Python 3.11 or newer among python3.11 ... python3.14 and python3; install one and call make again" >&2; \
	    exit 1; \
	  fi; \
	  echo "virtual environment: $(VENV), $$("$$python" --version)"; \
	  "$$python" -m venv --clear $(VENV) >/dev/null 2>&1 || "$$python" -m venv --clear --without-pip $(VENV); \
	fi; \
	uv=$$(command -v uv || command -v "$$HOME/.local/bin/uv" || command -v $(BIN)/uv || true); \
	if [ -z "$$uv" ]; then \
	  echo "installing uv into $(VENV)"; \
	  base=$$($(BIN)/python -c 'import sys; print(sys._base_executable)'); \
	  $(BIN)/python -m pip install --quiet uv 2>/dev/null \
	    || "$$base" -m pip --python $(BIN)/python install --quiet uv \
	    || { echo "make: cannot install uv with pip; see the message above, or install uv and call make again" >&2; exit 1; }; \
	  uv=$(BIN)/uv; \
	fi; \
	if [ -z "$$UV_DEFAULT_INDEX$$UV_INDEX_URL" ]; then \
	  index=$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}; \
	  if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	fi; \
	install() { "$$uv" pip install --python $(BIN)/python --constraint constraints.txt --compile-bytecode "$$@"; }; \
	install $(TORCH); \
	install --editable '.[$(EXTRAS_OF_$(@F))]'; \
	$(BIN)/python -m compileall -q fglib; \
	touch $@
