# Every verb of this checkout; `make` alone lists them.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Debian's Python comes without what makes virtual environments.
INSTALL_VENV = { echo "Installing python3-venv" && apt-get -q update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qy install python3-venv >/dev/null; }

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z.-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

.PHONY: .venv
.venv: .venv/requirements-dev.txt ## The virtual environment with the pinned requirements, which the other targets make, too

# Its copy of the pins says that it is whole: one that was made by hand for a lab has requirements.txt alone.
.venv/requirements-dev.txt: requirements.txt requirements-dev.txt
	@echo "Making a virtual environment with the pinned requirements"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/it")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(INSTALL_VENV) || \
		{ echo "Python cannot make virtual environments here; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@pip install --quiet --disable-pip-version-check --requirement requirements.txt --requirement requirements-dev.txt
	@cp requirements-dev.txt .venv/

.PHONY: demo
demo: .venv ## The whole stack on this machine, on a simulated GPU host, up to the first task in CVAT
	@python molecule/stand_ins/demo.py up

.PHONY: demo-loop
demo-loop: .venv ## Five turns of the demo's loop with a bot for an annotator, and a report of what the model learns
	@python molecule/stand_ins/demo_loop.py

.PHONY: demo-down
demo-down: .venv ## Take the demo away
	@python molecule/stand_ins/demo.py down

.PHONY: test
test: .venv ## Lint, unit tests, and the stack on simulated hosts
	@python tests/run.py

.PHONY: test-long
test-long: .venv ## The tests that take long, which `make test` leaves out
	@python tests/run.py --long

.PHONY: lint
lint: .venv ## Lint alone: all that the hooks of pre-commit ask
	@python tests/run.py lint

.PHONY: unit
unit: .venv ## Unit tests alone
	@python tests/run.py unit

.PHONY: docs
docs: .venv ## The documentation as a site, in site/
	@python -m mkdocs build --strict
	@echo "Open site/index.html"

.PHONY: bench
bench: .venv ## What is to be fast, measured; LEARNING=1, FIRST=1, FLEET=1, LAB=INVENTORY say what else (docs/performance.md)
	@python tests/run.py stand-ins
	@python bench/run.py $(if $(LAB),-i $(LAB)) scoring $(if $(LEARNING),learning) $(if $(LAB),second-run) $(if $(FIRST),first-run) $(if $(FLEET),fleet)

.PHONY: requirements
requirements: .venv ## Pin what the files requirements*.in bring, in requirements*.txt
	@pip install --quiet pip-tools
	@for name in requirements requirements-dev; do \
		pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
			--no-header --annotation-style=line --output-file $$name.txt $$name.in || exit; \
	done
