# make demo · make test: on a fresh clone both do all the set-up. `make help` lists the rest.

VENV    ?= .venv
PYTHON  ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3 python 2>/dev/null) python3)
WORKERS ?= 2
DEMO    ?= demo

# A set-up is done once for each state of the two files that say what is installed.
STATE := $(shell cat pyproject.toml constraints.txt | cksum | tr -s ' \t' '-')
BIN   := $(VENV)/bin
TORCH := $(shell sed -n 's/^torch==/&/p' constraints.txt)

.PHONY: help setup demo test test-slow test-arithmetic docs package lower-bounds web bench lint types lock audit clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo       generate sounds, try aasp-tiny on them, train it further, write $(DEMO)/report.html'
	@echo 'make test       the fast tests          make test-slow  the others, up to some minutes'
	@echo 'make test-arithmetic  the fast tests of numbers as another processor rounds: $(ARITHMETIC)'
	@echo 'make docs       the site, in build/site    make package    wheel and sdist, installed and tried by a newcomer'
	@echo 'make lower-bounds  the fast tests with the oldest versions that pyproject.toml allows; 4 GB to download'
	@echo 'make web        what the browser demo needs, by npm: see docs/deploy.md'
	@echo 'make bench      all benchmarks, about half an hour, and their table in docs/performance.md'
	@echo 'make lint       ruff                    make types      mypy'
	@echo 'make audit      packages with a known vulnerability      make lock  their versions and hashes'
	@echo 'make setup      only the environment in $(VENV); PYTHON=… chooses the interpreter (3.11 or later)'

setup: $(VENV)/.test-$(STATE)

demo: $(VENV)/.demo-$(STATE)
	$(BIN)/aasp demo --out $(DEMO)

# The tests run in processes side by side: a core each.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m slow

# Products as a processor without AVX computes them, in torch (ATen, MKL, oneDNN), numpy and scipy (OpenBLAS); ours can
# be another, say ARITHMETIC='ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Zen', but none that the processor lacks.
ARITHMETIC ?= ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 ONEDNN_MAX_CPU_ISA=SSE41 \
              OPENBLAS_CORETYPE=Prescott OMP_NUM_THREADS=2
NUMBERS    := $(addprefix tests/,aliasing evaluate features model pretrain stems training)

test-arithmetic: setup
	OMP_NUM_THREADS=1 $(ARITHMETIC) $(BIN)/python -m pytest -n $(WORKERS) -m 'not slow' $(NUMBERS)

# Links within the site are checked by both; those out of it are not asked for.
docs: setup $(VENV)/.docs-$(STATE)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees docs build/site
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b linkcheck -d build/doctrees docs build/links

package: setup
	$(BIN)/python -m pytest -n 0 tests/test_package.py

# Not in .ci/run: torch of that age is to be had with CUDA only.
lower-bounds: setup
	$(BIN)/python -m pip install -qq --target $(VENV)/lock uv
	mkdir -p build
	$(VENV)/lock/bin/uv pip compile pyproject.toml --extra test --resolution lowest-direct --python-version 3.11 \
	  --no-header --no-annotate -q -o build/lower-bounds.txt
	$(VENV)/lock/bin/uv venv -q --clear --python $(BIN)/python build/lower-bounds
	$(VENV)/lock/bin/uv pip install -q --python build/lower-bounds -r build/lower-bounds.txt
	$(VENV)/lock/bin/uv pip install -q --python build/lower-bounds --no-deps -e .
	OMP_NUM_THREADS=1 build/lower-bounds/bin/python -m pytest -n $(WORKERS) -m 'not slow'

# ONNX Runtime as WebAssembly, as web/package-lock.json names it: 150 MB, so not kept in the repository.
web: web/node_modules

web/node_modules: web/package-lock.json
	cd web && npm ci --ignore-scripts
	@touch $@

# Each in a process of its own, nothing beside it. linear, finetune: only where AASP_DATA names the labelled sets.
BENCHMARKS := sblu stem_share step embed frontend decoding pipeline scaling startup $(if $(AASP_DATA),deploy linear finetune)

bench: setup
	@for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/table.py

lint: setup
	$(BIN)/ruff check

types: setup
	$(BIN)/mypy

# Both need the network, and tools that nothing else does. s3 is left out: its botocore needs a python-dateutil of before 3.
LOCKED := $(foreach extra,onnx openvino executorch demo hf ray lancedb qdrant pandas serve docs test,--extra $(extra))

lock: setup
	$(BIN)/python -m pip install -qq --target $(VENV)/lock uv
	$(VENV)/lock/bin/uv pip compile pyproject.toml $(LOCKED) -c constraints.txt --generate-hashes --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --no-header --no-annotate -q -o $(VENV)/requirements.lock
	{ sed -n '/^#/p' requirements.lock; cat $(VENV)/requirements.lock; } > $(VENV)/lock.txt && mv $(VENV)/lock.txt requirements.lock

audit: setup
	$(BIN)/python -m pip install -qq --target $(VENV)/audit pip-audit
	PYTHONPATH=$(VENV)/audit $(BIN)/python .ci/audit.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.demo-$(STATE) $(VENV)/.docs-$(STATE) $(VENV)/.test-$(STATE): $(VENV)/.%-$(STATE): | $(VENV)/.torch-$(STATE)
	@echo 'installing aasp and what it needs for: $*'
	$(BIN)/python -m pip install -qq -c constraints.txt -e '.[$*]'
	@touch $@

# torch first: a wheel of the same version that is already at hand is taken before the package's own requirement is read.
$(VENV)/.torch-$(STATE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'make: Python 3.11 or later is needed, $(PYTHON) is not: make … PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'setting up $(VENV): torch and the libraries, a few minutes the first time'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt $(TORCH)
	@touch $@
