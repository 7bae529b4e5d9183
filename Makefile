# The first use of any command makes the tool environment .venv.

PYTHON ?= python3
INVENTORY ?= inventory/lab
# Number of lab nodes; what is up stays as it is where this is empty.
NODES ?=
# What the first of them are to be, such as SHAPES="ubuntu24.04 el9"; the others are of Debian.
SHAPES ?=
# Number of hosts with a kernel of their own under emulation, and what they boot by.
KERNEL ?=
BOOT ?=
# More arguments for ansible-playbook, pytest or the benchmarks, such as ARGS="--limit node1".
ARGS ?=

BIN = .venv/bin
PLAYBOOK = PYTHONPATH=collections $(BIN)/python tools/inventory.py $(INVENTORY) && \
	$(BIN)/ansible-playbook --inventory $(INVENTORY)
LAB = PYTHONPATH=tests $(BIN)/python -m lab
# What runs on lab nodes.
LAB_TESTS = tests/lab tests/standins tests/system
PYTEST = $(BIN)/pytest $(ARGS) --junit-xml=tests/output/$@.xml
SUPPORT = PYTHONPATH=tests $(BIN)/python tools/support.py
TESTRUN = PYTHONPATH=tests:tools $(BIN)/python -m testrun
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header
# How much is tried: "quick", or "full" with the slow tests and all examples of Hypothesis.
EXTENT = quick
SPEED_quick = -m "not slow" --hypothesis-profile=quick
SPEED_full = --hypothesis-profile=full
SPEED = $(SPEED_$(EXTENT))
# Of the tests on a host with a kernel of its own all are slow.
KERNEL_TEST_full = kernel-test

# ansible-lint and testinfra call Ansible's commands by their names.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.NOTPARALLEL:
.PHONY: help site plan lock releases nccl verify test test-full lint unit second-pair sanity lab-test kernel-test durations molecule fuzz bench lab-up lab-down docs support requirements clean

help:
	@sed --quiet 's/^\([a-z-]*\):.* ## /\1\t/p' Makefile | expand --tabs=16

.venv/complete: requirements.txt tools/environment
	tools/environment .venv $(PYTHON)

.venv-pyinfra/complete: benchmarks/pyinfra/requirements.txt tools/environment
	cd benchmarks/pyinfra && ../../tools/environment "$(CURDIR)/.venv-pyinfra" $(PYTHON)

site: .venv/complete ## converge every host; with the default inventory, boot the lab first
ifeq ($(INVENTORY:%/=%),inventory/lab)
	$(LAB) up
endif
	$(PLAYBOOK) site.yml $(ARGS)

plan: .venv/complete ## what a run would change, and tests/output/plan.json
	$(PLAYBOOK) playbooks/plan.yml --extra-vars=preflight_json=$(CURDIR)/tests/output/plan.json $(ARGS)

lock: .venv/complete ## solve environments with packages into their locks
	$(PLAYBOOK) playbooks/lock.yml $(ARGS)

releases: .venv/complete ## what each host keeps and runs, and how to go back
	$(PLAYBOOK) playbooks/releases.yml $(ARGS)

nccl: .venv/complete ## whether hosts with PyTorch meet and compute together
	$(PLAYBOOK) playbooks/nccl.yml $(ARGS)

verify: .venv/complete ## check the hosts of INVENTORY, then prove them from outside; tests/output/verify.json
	$(PLAYBOOK) playbooks/verify.yml --extra-vars=verification_json=$(CURDIR)/tests/output/verify.json \
		--extra-vars=verification_junit=$(CURDIR)/tests/output/verify.xml $(ARGS)
	$(BIN)/pytest --junit-xml=tests/output/proofs.xml tests/fleet --hosts=ansible://all --ansible-inventory=$(INVENTORY)

test: .venv/complete ## every test but the slow ones
	@$(TESTRUN).parts EXTENT=$(EXTENT) sanity second-pair unit lint lab-test $(KERNEL_TEST_$(EXTENT))

test-full: EXTENT = full
test-full: test ## every test

lint: .venv/complete ## ruff, mypy, yamllint, ansible-lint, changelog fragments, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/antsibull-changelog lint
	tools/docs --check
	@# The default inventory has no hosts until the lab was up.
	ANSIBLE_INVENTORY=inventory/example $(BIN)/ansible-lint

unit: .venv/complete ## the tests that need nothing
	$(PYTEST) $(SPEED) tests/unit

second-pair: .venv/complete ## unit tests on the other supported Python and core
	tools/second-pair $(SPEED)

sanity: .venv/complete ## ansible-test sanity
	PYTHONPATH=tests $(BIN)/python tools/sanity.py

lab-test: .venv/complete ## the tests on lab nodes, side by side; with ARGS, those on this checkout's lab
ifeq ($(ARGS),)
	$(TESTRUN).side_by_side $(SPEED)
else
	$(PYTEST) $(SPEED) $(LAB_TESTS)
endif

kernel-test: .venv/complete ## the tests on a host with a kernel of its own, under emulation
	$(PYTEST) tests/kernel

durations: .venv/complete ## note how long the tests on lab nodes take, which side by side are begun in that order
	$(TESTRUN).side_by_side --note=$(EXTENT) $(SPEED)

molecule: .venv/complete ## the molecule scenarios of every role, each on a fresh node of the lab
	$(PYTEST) tests/system/test_molecule.py

fuzz: .venv/complete ## the tests that make up their own input, with 20,000 examples each; hours
	$(PYTEST) --hypothesis-profile=fuzz -m hypothesis tests/unit $(ARGS)

bench: .venv/complete .venv-pyinfra/complete ## what runs cost, beside pyinfra's; makes the lab's nodes new; parts by ARGS
	PYTHONPATH=tests:tests/unit:collections $(BIN)/python -m benchmarks $(ARGS)

lab-up: .venv/complete ## boot the lab; NODES=n nodes, SHAPES="el9 ..." what they are, KERNEL=n hosts with a kernel
	$(LAB) up $(if $(NODES),--nodes $(NODES)) $(if $(SHAPES),--shapes $(SHAPES)) \
		$(if $(KERNEL),--kernel $(KERNEL)) $(if $(BOOT),--boot $(BOOT))

lab-down: .venv/complete ## remove the lab, leaving nothing behind
	$(LAB) down
	@$(TESTRUN).side_by_side --clear

support: .venv/complete ## note what of the support matrix was seen passing, by tests/output; write the matrix anew
	$(SUPPORT) note $(wildcard tests/output/*.xml)
	tools/docs

docs: .venv/complete ## defaults and READMEs of the roles, from their argument_specs; the support matrix
	tools/docs

requirements: .venv/complete ## each requirements.txt from its requirements.in
	$(COMPILE) requirements.in --output-file requirements.txt
	$(COMPILE) benchmarks/pyinfra/requirements.in --output-file benchmarks/pyinfra/requirements.txt

clean: ## remove what was made here, but for the lab
	rm -rf .venv* .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/output
