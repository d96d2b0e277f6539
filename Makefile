# make demo         train on simulated walks, generate the pathologies from text, draw them; results in demo/
# make test         all tests
# Both set everything up first, from requirements.lock: the versions that passed. Needed on a fresh machine: make and
# Python 3.11 or newer.
# make test-latest  all tests with the newest versions that pyproject.toml allows, in an environment of its own
# make lock         writes requirements.lock anew with the newest versions

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
TESTS ?= tests
MODEL := demo/model
EXTRAS := dev,video,search,demo
TORCH := $(shell cat torch.lock)
CUDA := $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse \
  cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
# MediaPipe names these and its poses do without (200 MB)
UNUSED := jax jaxlib ml-dtypes opt-einsum sounddevice cffi pycparser
FIND_PYTHON = for p in $(PYTHON) python3 python3.11 python3.12 python3.13 python; do \
	  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$p && break; \
	done; \
	if [ -z "$$python" ]; then echo "No Python 3.11 or newer with venv here; name one: make PYTHON=/path/to/python" >&2; exit 1; fi
export TOKENIZERS_PARALLELISM := false

.PHONY: setup demo test test-latest lock style mutants bench clean

setup: .venv/ready

# Runs once, and again when the lock changes. requirements.lock holds all but torch, with hashes; torch is taken for the machine:
# with an NVIDIA GPU the build for CUDA, whose libraries stand in requirements-cuda.lock, else the CPU build, which is small.
.venv/ready: requirements.lock requirements-cuda.lock
	@python=; $(FIND_PYTHON); test -x $(PY) || $$python -m venv .venv
	@if nvidia-smi -L >/dev/null 2>&1; then $(PIP) install -q --no-deps --require-hashes -r requirements-cuda.lock; \
	elif $(PIP) install -q --no-deps "$(TORCH)+cpu" 2>/dev/null; then true; \
	elif [ "$$(uname)" = Linux ]; then \
	  $(PIP) install -q --no-deps "$(TORCH)+cpu" --index-url https://download.pytorch.org/whl/cpu; \
	else $(PIP) install -q --no-deps "$(TORCH)"; fi
	$(PIP) install -q --no-deps --require-hashes -r requirements.lock
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

# Each step of the demo is made once; after an interruption `make demo` goes on where it was.
demo: $(MODEL)/model.safetensors
	$(PY) train/show.py --model $(MODEL) --output_dir demo --trained_on "simulated walks"
	@echo "All of this is of simulated data and a few minutes of training: it shows that the chain works, not how good it can be."

demo/data/README.md: | .venv/ready
	$(PY) datasets_scripts/simulated.py --num_walks 1400 --num_subjects 40 --frames 128 --output_dir demo/data

$(MODEL)/vq/model.safetensors: demo/data/README.md
	$(PY) train/train_vq.py train/configs/demo_vq.json --dataset demo/data --output_dir $(MODEL)/vq

$(MODEL)/model.safetensors: $(MODEL)/vq/model.safetensors
	$(PY) train/train_gpt2.py train/configs/demo_gpt2.json --dataset demo/data --vq $(MODEL)/vq --output_dir $(MODEL)

test: .venv/ready
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal $(TESTS)

test-latest:
	@python=; $(FIND_PYTHON); rm -rf .venv-latest; $$python -m venv .venv-latest
	.venv-latest/bin/python -m pip install -q -e ".[$(EXTRAS)]"
	OMP_NUM_THREADS=1 .venv-latest/bin/python -m pytest -n 2 --dist worksteal $(TESTS)

lock: .venv/ready
	$(PIP) install -q uv
	.venv/bin/uv pip compile pyproject.toml -q --upgrade --universal --python-version 3.11 --generate-hashes --all-extras \
	  --constraint torch.lock $(foreach p,torch triton cuda-bindings cuda-pathfinder cuda-toolkit $(CUDA) $(UNUSED),--no-emit-package $(p)) \
	  --custom-compile-command "make lock" -o requirements.lock
	.venv/bin/uv pip compile torch.lock -q --upgrade --universal --python-version 3.11 --generate-hashes \
	  --constraint requirements.lock --custom-compile-command "make lock" -o requirements-cuda.lock

style: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

mutants: .venv/ready
	$(PY) -m experiments.mutants

# What needs no download; the other scripts in experiments/ say what they need.
bench: .venv/ready
	$(PY) -m experiments.simulator_norms

clean:
	rm -rf demo build dist .venv-latest .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
