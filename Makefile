# make demo    train on simulated walks, generate the pathologies from text, draw them; results in demo/
# make test    all tests
# Both set everything up first. Needed on a fresh machine: make and Python 3.11 or newer.

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
TESTS ?= tests
MODEL := demo/model
export TOKENIZERS_PARALLELISM := false

.PHONY: setup demo test style bench clean

setup: .venv/ready

# Runs once, and again when pyproject.toml changes. Without an NVIDIA GPU the CPU build of torch is taken, which is small.
.venv/ready: pyproject.toml
	@python=; for p in $(PYTHON) python3 python3.11 python3.12 python3.13 python; do \
	  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$p && break; \
	done; \
	if [ -z "$$python" ]; then echo "No Python 3.11 or newer with venv here; name one: make PYTHON=/path/to/python" >&2; exit 1; fi; \
	test -x $(PY) || $$python -m venv .venv
	@if nvidia-smi -L >/dev/null 2>&1; then $(PIP) install "torch>=2.6,<3"; \
	elif $(PIP) install -q "torch==2.13.0+cpu" 2>/dev/null; then true; \
	elif [ "$$(uname)" = Linux ]; then $(PIP) install "torch>=2.6,<3" --index-url https://download.pytorch.org/whl/cpu; \
	else $(PIP) install "torch>=2.6,<3"; fi
	$(PIP) install -q -e ".[dev,video,search,demo]"
	@touch $@

# Each step of the demo is made once; after an interruption `make demo` goes on where it was.
demo: $(MODEL)/model.safetensors
	$(PY) train/show.py --model $(MODEL) --output_dir demo --trained_on "simulated walks"
	@echo "All of this is of simulated data and a few minutes of training: it shows that the chain works, not how good it can be."

demo/data/README.md: | .venv/ready
	$(PY) datasets_scripts/simulated.py --num_walks 1400 --num_subjects 40 --frames 128 --output_dir demo/data

$(MODEL)/vq/model.safetensors: demo/data/README.md
	$(PY) train/train_vq.py train/configs/demo_vq.json --dataset demo/data --output_dir $(MODEL)/vq

$(MODEL)/decoder/model.safetensors: $(MODEL)/vq/model.safetensors
	$(PY) train/train_decoder.py train/configs/demo_decoder.json --dataset demo/data --vq $(MODEL)/vq \
	  --output_dir $(MODEL)/decoder

$(MODEL)/model.safetensors: $(MODEL)/decoder/model.safetensors
	$(PY) train/train_gpt2.py train/configs/demo_gpt2.json --dataset demo/data --vq $(MODEL)/vq \
	  --decoder $(MODEL)/decoder --output_dir $(MODEL)

test: .venv/ready
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal $(TESTS)

style: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

# What needs no download; the other scripts in benchmarks/ say what they need.
bench: .venv/ready
	$(PY) benchmarks/simulator_norms.py

clean:
	rm -rf demo build dist .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
