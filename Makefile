# Short names for the command line; `aamc --help` has the rest. OUT and SEED may be set: make evaluate OUT=runs/mine
AAMC ?= aamc
OUT ?= runs/make
DATA ?= $(OUT)/data
SEED ?= 0

.PHONY: install data tce_train rlr_train rlr_train_quick evaluate test reproduce

install:
	python3 -m venv .venv && .venv/bin/pip install -r requirements.txt

data:
	$(AAMC) data generate --n-train 10000 --n-val 2000 --n-test 2000 --out $(DATA)

tce_train: data
	$(AAMC) train --estimator tce --dataset synthetic:$(DATA) --preset full --seed $(SEED) --out $(OUT)/tce

rlr_train: tce_train
	$(AAMC) train --router ppo --estimator $(OUT)/tce/estimator --dataset synthetic:$(DATA) --preset full --seed $(SEED) --out $(OUT)/ppo

rlr_train_quick:
	$(AAMC) train --router ppo --estimator tce --seed $(SEED) --out $(OUT)/ppo-quick

evaluate:
	$(AAMC) evaluate runs/latest --out $(OUT)/evaluation

test:
	python3 -m venv .venv-tox && .venv-tox/bin/pip install tox && .venv-tox/bin/tox

# The paper's hyper-parameters: a fine-tuned encoder and a million PPO steps. Hours on a CPU.
reproduce:
	$(AAMC) run --router ppo --estimator tce --preset paper --seed $(SEED) --out $(OUT)/paper
