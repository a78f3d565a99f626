# Everything runs in .venv, made here; `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check -q

PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
FOLDERS := fer_edge devices edge_runtime train calibration convert cli
# Folders count too: their time changes when a file in them is deleted.
SOURCES := $(shell find $(FOLDERS) -name __pycache__ -prune -o -print) README.md LICENSE
PINS := pyproject.toml constraints.txt

# Stamps lie inside the environment, so that they vanish with it.
MADE := $(VENV)/made-by-python$(PYTHON_VERSION)
EDGE := $(VENV)/installed-edge
DEV := $(VENV)/installed-dev

.PHONY: help demo test lint types wheel wheel-check check constraints clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

demo: $(EDGE)  ## install the edge side alone and run the demo into demo-out/
	$(BIN)/fer-edge demo --out demo-out

test: $(DEV)  ## install everything and run the tests
	$(BIN)/pytest -q --tb=short $(PYTEST_ARGS)

lint: $(DEV)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The folders become sub-packages only once installed, so types are checked on what the wheel holds.
types: wheel  ## mypy on the unpacked wheel
	@rm -rf .mypy_cache/wheel && mkdir -p .mypy_cache/wheel
	@$(BIN)/python -m zipfile -e dist/*.whl .mypy_cache/wheel
	cd .mypy_cache/wheel && "$(abspath $(BIN))/mypy" --config-file ../../pyproject.toml --cache-dir .. -p fer_edge

wheel: $(DEV)  ## build the wheel into dist/
	@rm -rf build dist fer_edge.egg-info
	@$(BIN)/pyproject-build --wheel --no-isolation --outdir dist . >wheel.tmp 2>&1 || { cat wheel.tmp; exit 1; }
	@rm -rf build fer_edge.egg-info wheel.tmp
	@ls dist/*.whl

wheel-check: wheel  ## install the wheel alone into an empty environment and start it
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	  $(BIN)/python -m venv "$$folder/venv" && \
	  "$$folder/venv/bin/pip" --disable-pip-version-check -q install -c constraints.txt dist/*.whl && \
	  cd "$$folder" && venv/bin/fer-edge --version && venv/bin/fer-edge --help >help.txt && \
	  if venv/bin/pip list 2>/dev/null | grep -iE '^(tensorflow|keras|onnxruntime) '; then \
	    echo 'the edge install brings a training framework'; exit 1; fi

check: lint types wheel-check  ## all checks that are not tests

constraints:  ## renew constraints.txt from today's newest versions (Python 3.11)
	@test "$(PYTHON_VERSION)" = 3.11 || { echo "pins are made on the oldest Python; run: make constraints PYTHON=python3.11"; exit 1; }
	@echo "installing the newest of everything into a scratch environment, some minutes"
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && rm -rf build fer_edge.egg-info && \
	  $(PYTHON) -m venv "$$folder" && pip="$$folder/bin/pip --disable-pip-version-check -q" && \
	  $$pip install -U setuptools wheel && $$pip install --no-build-isolation '.[dev]' && \
	  rm -rf build fer_edge.egg-info && grep '^#' constraints.txt >constraints.tmp && \
	  $$pip freeze --all --exclude pip --exclude fer-edge | sort -f >>constraints.tmp && \
	  mv constraints.tmp constraints.txt

clean:  ## remove all that make made
	rm -rf $(VENV) build dist fer_edge.egg-info demo-out .pytest_cache .mypy_cache .ruff_cache

$(MADE):
	@case "$(PYTHON_VERSION)" in 3.11|3.12|3.13) ;; \
	  "") echo "$(PYTHON) is not installed; run: apt install python3 python3-venv"; exit 1;; \
	  *) echo "fer-edge needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $(PYTHON_VERSION); run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1;; esac
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) comes without its venv module; run: apt install python3-venv"; exit 1; }
	@echo "making $(VENV) with Python $(PYTHON_VERSION)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# A changed pin installs the dependencies, a changed source the package alone. setuptools comes first and is pinned too:
# -c does not reach an isolated build. A left-over build/ would put deleted files into the install.
define install
	@rm -rf build fer_edge.egg-info
	$(if $(filter $(PINS) $(MADE),$?),@echo "$(2)" && $(PIP) install -c constraints.txt setuptools wheel && \
	  $(PIP) install --no-build-isolation -c constraints.txt '$(1)',@echo "installing fer-edge again" && \
	  $(PIP) install --no-build-isolation --no-deps --force-reinstall .)
	@rm -rf build fer_edge.egg-info
	@touch $(EDGE) $@
endef

$(EDGE): $(MADE) $(PINS) $(SOURCES)
	$(call install,.,$(EDGE_MESSAGE))

$(DEV): $(MADE) $(PINS) $(SOURCES)
	$(call install,.[dev],$(DEV_MESSAGE))

EDGE_MESSAGE := installing the edge side (NumPy, OpenCV, LiteRT): about a minute
DEV_MESSAGE := installing everything (TensorFlow, ONNX Runtime, OpenVINO): 2 to 10 minutes, 3 GB
