# Everything runs in .venv, which is made on first use with the pinned versions of requirements/.
PYTHON ?= $(firstword $(shell command -v python3.11) python3)
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Most of what is installed is never imported, and Python compiles what is.
export PIP_NO_COMPILE := 1

# In the order of the page.
STUDIES := $(addprefix studies/,$(addsuffix .py,calibration loss_jumps sparsity automaton_loss automaton_plateau \
	automaton_batch automaton_refit linear_map_batch sparsity_maps linear_map_bias heads_and_dimension \
	heads_at_fixed_width trajectory_length mixer_vs_transformer architectures_on_map \
	architectures_on_automaton architectures_on_recall race_heads heads_lottery heads_at_equal_operations \
	ensembles sooner_attention sooner_bias sooner_dense sooner_distillation sooner_repetition sooner_curricula \
	sooner_at_size sooner_optimisers sooner_examples))

.DEFAULT_GOAL := help
.PHONY: help demo demo-lm demo-watch test test-lowest lint types unit bench device simulate real language-models \
	figures pictures docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/compiled ## train 8 seeds of a small linear map and write the report
	$(BIN)/saltus demo

demo-lm: .venv/ready ## train 12 small language models, scan their checkpoints, patch across a jump, write the report
	$(BIN)/saltus demo --lm

demo-watch: .venv/ready ## train a small language model that learns induction, with its live page, until Ctrl-C
	$(BIN)/python examples/watch_induction.py

test: lint ## lint, types and every test
	$(MAKE) --no-print-directory --jobs 2 types unit

lint: .venv/ready-to-develop ## check formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/ready-to-develop ## check types, strictly
	$(BIN)/pyright --pythonpath $(BIN)/python

# One thread in each process: several processes whose threads wait for each other by spinning cost many times as much.
unit test-lowest: export OMP_NUM_THREADS := 1

unit: .venv/ready-to-develop ## the tests alone
	$(BIN)/pytest --numprocesses auto --dist loadfile

# torch and the tools of tests are those of .venv; everything else is as old as pyproject.toml allows, and may call what
# is deprecated in a package that is not listed there, as an old matplotlib does.
test-lowest: .venv/ready-to-develop ## every test, with the lowest versions that are allowed
	$(PYTHON) -m venv .venv-lowest
	$(BIN)/python .ci/lowest.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/pip install --quiet --requirement .venv-lowest/lowest.txt
	$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > .venv-lowest/others
	cp .venv-lowest/others $$(.venv-lowest/bin/python -c "import site; print(site.getsitepackages()[0])")/others.pth
	PYTHONPATH=$(CURDIR)/src .venv-lowest/bin/python -m pytest --numprocesses auto --dist loadfile -W ignore::DeprecationWarning

bench: .venv/ready ## measure speed and memory against a plain training loop
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/patching.py
	$(BIN)/python benchmarks/scanning.py

device: .venv/ready ## check and measure what runs on a CUDA device, at most eight minutes
	$(BIN)/python benchmarks/device.py

simulate: .venv/ready ## measure by simulation how often intervals hold and tests err, minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/simulate_race.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/simulate_variance.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/simulate.py

real: .venv-real/ready ## shuffle and tune a real model of 135M parameters, scan, patch and audit it, a quarter of an hour
	PYTHONPATH=.venv-real $(BIN)/python benchmarks/real_model.py
	PYTHONPATH=.venv-real $(BIN)/python benchmarks/real_training.py

language-models: .venv/ready ## train 30 small language models, scan and patch them, and write their page of results/
	$(BIN)/python benchmarks/language_models.py

figures: .venv/ready ## draw the figures and tables of results/ from the kept records, without training
	$(BIN)/saltus figures $(STUDIES)

pictures: .venv/ready-to-develop ## draw the pictures of the README again, from the demo's records
	$(BIN)/python docs/pictures/draw.py

docs: .venv/ready-for-docs ## build the site into site/, without a warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove the environment, the caches and the site, not the runs
	rm -rf .venv .venv-lowest .venv-real site .pytest_cache .ruff_cache .hypothesis

# torch comes first and alone: a build for CPUs is taken where pip is shown one.
.venv/ready: requirements/run.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(shell grep '^torch==' requirements/run.txt)
	$(BIN)/pip install --quiet --requirement requirements/run.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Once, so that no demo has to wait for the compiler; tests do not need it.
.venv/compiled: .venv/ready
	@echo "compiling the demo's training step, once"
	$(BIN)/saltus demo --steps 1 --out .venv/first > /dev/null
	touch $@

.venv/ready-to-develop: .venv/ready requirements/develop.txt
	$(BIN)/pip install --quiet --requirement requirements/develop.txt
	touch $@

.venv/ready-for-docs: .venv/ready-to-develop requirements/docs.txt
	$(BIN)/pip install --quiet --requirement requirements/docs.txt
	touch $@

.venv-real/ready: .venv/ready requirements/real.txt
	rm -rf .venv-real
	$(BIN)/pip install --quiet --no-deps --target .venv-real --requirement requirements/real.txt
	touch $@
