# Short names for the command line; `aamc --help` has the rest. Every variable may be set: make evaluate OUT=runs/mine
BIN := $(if $(wildcard .venv/bin/aamc),.venv/bin/)
AAMC ?= $(BIN)aamc
PYTHON ?= $(BIN)python
OUT ?= runs/make
DATA ?= $(OUT)/data
N_TRAIN ?= 10000
N_VAL ?= 2000
N_TEST ?= 2000
PRESET ?= full
SEED ?= 0
# The trained router that `make evaluate` compares: the newest
RUN ?= $(patsubst %/routers/ppo/component.json,%,$(shell ls -t $(OUT)/ppo*/routers/ppo/component.json 2>/dev/null | head -n 1))

EVALUATED = $(if $(filter %/ppo,$(RUN)),--dataset synthetic:$(DATA) --preset $(PRESET))
TCE := $(OUT)/tce/estimator/component.json
# An interrupted training goes on where it stopped, and a finished one stays as it is.
train = if test -f $(1)/run.yaml; then $(AAMC) train --resume $(1); else $(AAMC) train $(2) --seed $(SEED) --out $(1); fi

.PHONY: install data tce_train rlr_train rlr_train_quick evaluate test coverage reproduce

install:
	python3 -m venv .venv && .venv/bin/pip install -r requirements.txt

# Existing data is never replaced.
data: $(DATA)/train.csv

$(DATA)/train.csv:
	$(AAMC) data generate --n-train $(N_TRAIN) --n-val $(N_VAL) --n-test $(N_TEST) --seed $(SEED) --out $(DATA)

tce_train: $(TCE)

$(TCE): | $(DATA)/train.csv
	$(call train,$(OUT)/tce,--estimator tce --dataset synthetic:$(DATA) --preset $(PRESET))

rlr_train: $(TCE)
	$(call train,$(OUT)/ppo,--router ppo --estimator $(OUT)/tce/estimator --dataset synthetic:$(DATA) --preset $(PRESET))

rlr_train_quick:
	$(call train,$(OUT)/ppo-quick,--router ppo --estimator tce)

evaluate:
	@test -n "$(RUN)" || { echo "$(OUT) has no trained router; train one with: make rlr_train_quick OUT=$(OUT)" >&2; exit 1; }
	$(AAMC) run --router $(RUN)/routers/ppo --estimator $(RUN)/estimator $(EVALUATED) --seed $(SEED) --out $(OUT)/evaluation-$(shell date +%Y%m%d-%H%M%S)

test:
	python3 -m venv .venv-tox && .venv-tox/bin/pip install tox && .venv-tox/bin/tox

# Needs the extra: pip install -e '.[test]' -c constraints.txt. The report is htmlcov/index.html.
coverage:
	$(PYTHON) -m pytest --cov --cov-report=term --cov-report=html $(TESTS)

# The paper's hyper-parameters: a fine-tuned encoder and a million PPO steps. Hours on a CPU.
reproduce:
	$(AAMC) run --router ppo --estimator tce --preset paper --seed $(SEED) --out $(OUT)/paper
