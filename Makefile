# Everything runs in .venv, which is made once and again when its inputs change.
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
STAMP := .venv/.installed

.PHONY: demo test check venv
.DELETE_ON_ERROR:

demo: $(STAMP)
	.venv/bin/budgetc demo
	@echo 'demo$$ budgetc compile model.pt --budget host-cpu.yaml'
	@cd demo && PATH="$(CURDIR)/.venv/bin:$$PATH" budgetc compile model.pt --budget host-cpu.yaml

test: $(STAMP)
	scripts/test

check: $(STAMP)
	scripts/check

venv: $(STAMP)

# The constraints matter: an unconstrained torch can bring gigabytes of CUDA libraries.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@
