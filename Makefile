# `make help` lists what can be asked for. Everything that is downloaded or built stays below the checkout, in
# ignored folders (.venv, target, .state); .venv/*/stamp holds the requirements' hash, so a second time is quick.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
LISTEN ?= 127.0.0.1:8998
STATE ?= $(CURDIR)/.state
PYTEST ?=
CARGO ?= cargo

# The suite drives the binary as a stranger would. A debug build shares its dependencies with `cargo test`.
export FIRESTEEL_TEST_BIN ?= $(CURDIR)/target/debug/firesteel
# The same with the points at which the fault tests kill it.
export FIRESTEEL_TEST_FAILPOINTS_BIN ?= $(CURDIR)/target/debug/firesteel-failpoints
export FIRESTEEL_TEST_SPARKS ?= $(CURDIR)/.venv/spark-3.5/bin/python:$(CURDIR)/.venv/spark-4.1/bin/python

.PHONY: help run test check check-rust check-python test-rust test-python test-yarn test-k8s chaos fuzz timing soak bench bench-soak profile notebook deb test-images deps deps-images

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## set up Spark 4.1, build, and serve on 127.0.0.1:8998 (LISTEN=, STATE= to change)
	@scripts/need.sh java python cc cargo
	@scripts/envs spark-4.1
	$(CARGO) build --release --locked
	@LISTEN='$(LISTEN)' STATE='$(STATE)' scripts/run.sh

test: check test-rust test-python ## everything: static checks, Rust tests, the black-box suite on Spark 3.5 and 4.1

check: check-rust check-python ## static checks only: rustfmt, clippy, cargo-deny, ruff

check-rust:
	@scripts/need.sh cc cargo
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features otel -- -D warnings
	@scripts/deny.sh

check-python:
	@scripts/need.sh python
	@scripts/envs test
	.venv/test/bin/ruff check .
	.venv/test/bin/ruff format --check .

test-rust:
	@scripts/need.sh cc cargo
	$(CARGO) test --locked

test-python: ## the black-box suite alone, four files at a time; PYTEST='tests/api -k cancel' chooses
	@scripts/need.sh java python cc cargo r maven slapd kdc packages promtool npm
	@scripts/envs test spark-3.5 spark-4.1 driver airflow arrow fuzz
	@scripts/binaries.sh
	.venv/test/bin/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST)

# The release build, and times asserted: nothing else should run beside it.
CHAOS_ENV = FIRESTEEL_TEST_BIN=$(CURDIR)/target/release/firesteel \
	FIRESTEEL_TEST_FAILPOINTS_BIN=$(CURDIR)/target/release/firesteel-failpoints FIRESTEEL_TEST_MEASURED=1

test-yarn: ## real clusters on loopback: YARN, standalone masters and workers, 2,000 applications (PYTEST='tests/clusters -k killed')
	@scripts/need.sh java python cc cargo maven
	@scripts/envs test spark-3.5 spark-4.1
	@scripts/binaries.sh
	@scripts/yarn_jars.sh >/dev/null
	FIRESTEEL_TEST_CLUSTERS=1 .venv/test/bin/python -m pytest --timeout 1800 $(or $(PYTEST),tests/clusters)

test-k8s: ## batches and sessions on a real Kubernetes API server, scheduler and controllers, with a kubelet of the tests' own, on loopback (PYTEST='tests/clusters/test_kubernetes.py -k killed')
	@scripts/need.sh java python cc cargo go
	@scripts/envs test spark-3.5 spark-4.1
	@scripts/binaries.sh
	@scripts/kubernetes.sh >/dev/null
	FIRESTEEL_TEST_KUBERNETES=1 .venv/test/bin/python -m pytest --timeout 600 $(or $(PYTEST),tests/clusters/test_kubernetes.py tests/clusters/test_kubernetes_sessions.py)

chaos: ## the fault tests with twice the rounds, on the release build, stated times asserted (SEED=, SCALE=2)
	@scripts/need.sh java python cc cargo
	@scripts/envs test spark-3.5 spark-4.1
	@scripts/binaries.sh release
	seed='$(SEED)'; export FIRESTEEL_TEST_SEED=$${seed:-$$RANDOM} FIRESTEEL_TEST_SCALE=$(or $(SCALE),2); \
	echo "SEED=$$FIRESTEEL_TEST_SEED"; \
	$(CHAOS_ENV) .venv/test/bin/python -m pytest --timeout 3600 $(or $(PYTEST),tests/faults tests/api/test_gpus.py)

# schemathesis goes on for FUZZ seconds, half without names and half with; proptest for so many cases of each property.
fuzz: ## every route by its OpenAPI document for 20 minutes; parsers; random code in each kind on each Spark; 10,000 uploads (SEED=, SCALE=20, FUZZ=1200)
	@scripts/need.sh java python cc cargo
	@scripts/envs test spark-3.5 spark-4.1 fuzz
	@scripts/binaries.sh
	seed='$(SEED)'; export FIRESTEEL_TEST_SEED=$${seed:-$$RANDOM} FIRESTEEL_TEST_SCALE=$(or $(SCALE),20); \
	echo "SEED=$$FIRESTEEL_TEST_SEED"; \
	PROPTEST_CASES=20000 $(CARGO) test --locked --release --lib || exit 1; \
	FIRESTEEL_TEST_FUZZ_SECONDS=$(or $(FUZZ),1200) .venv/test/bin/python -m pytest -s tests/api/test_openapi_fuzz.py || exit 1; \
	for spark in 3.5 4.1; do FIRESTEEL_TEST_SPARKS=$(CURDIR)/.venv/spark-$$spark/bin/python \
	.venv/test/bin/python -m pytest -s --timeout 3600 tests/cells/test_random_edits.py || exit 1; done; \
	.venv/test/bin/python -m pytest -s tests/api/test_upload_fuzz.py

timing: ## whether the time of a look tells anything of a token or a cookie: a statistical test; nothing else should run beside it
	@scripts/need.sh cc cargo
	$(CARGO) test --locked --release --lib -- --ignored --nocapture the_time_of_a_look

soak: ## the chaos rounds again and again, each time with another seed, for SOAK=8h; stops at the first fault
	@scripts/need.sh java python cc cargo
	@scripts/envs test spark-3.5 spark-4.1
	@scripts/binaries.sh release
	$(CHAOS_ENV) scripts/soak.sh '$(or $(SOAK),8h)' $(PYTEST)

bench: ## figures, each beside its peer in the same run, into benches/report.md (BENCH='trips storm', BENCH='output -- --gigabytes 10')
	@scripts/need.sh java python cc cargo
	@scripts/envs test spark-3.5 spark-4.1 arrow
	$(CARGO) build --release --locked
	.venv/test/bin/python benches/run.py $(BENCH)

bench-soak: ## half an hour of sessions made, used, crashed and deleted: whether the server stays flat (MINUTES=30)
	@scripts/need.sh python cc cargo
	@scripts/envs test
	$(CARGO) build --release --locked
	.venv/test/bin/python benches/soak.py --minutes '$(or $(MINUTES),30)'

profile: ## flame graphs of the server under load, into target/profile (needs perf; LOADS='statements gets')
	@scripts/need.sh perf python cc cargo
	@scripts/envs test
	CARGO_PROFILE_RELEASE_STRIP=none $(CARGO) build --release --locked --target-dir target/unstripped
	.venv/test/bin/python benches/flames.py --binary target/unstripped/release/firesteel $(LOADS)

notebook: ## a local JupyterLab with sparkmagic against the running server (ENDPOINT= to change)
	@scripts/need.sh python cc
	@scripts/envs notebook
	@scripts/notebook.sh

deb: ## the Debian package, into target/
	@scripts/need.sh cc cargo
	$(CARGO) build --release --locked
	@scripts/deb.sh

test-images: ## builds the images, and runs them, the compose files and, under systemd, the package in a Docker of its own (root, some 30 minutes)
	@scripts/need.sh python cc cargo packages dockerd cloud-init debootstrap
	@scripts/envs test
	$(CARGO) build --release --locked
	FIRESTEEL_TEST_IMAGES=1 FIRESTEEL_TEST_BIN=$(CURDIR)/target/release/firesteel .venv/test/bin/python -m pytest --timeout 1800 $(or $(PYTEST),tests/packages)

# Node.js brings its own npm where it is no Debian package, and does not get on with Debian's.
DEPS := $(if $(shell command -v npm),,npm) chromium docker-compose haproxy krb5-admin-server krb5-kdc krb5-user ldap-utils libkrb5-dev maven nginx-light prometheus python3-dev r-base-core shellcheck slapd systemd
# What `make test-images` needs on top.
DEPS_IMAGES := cloud-init debootstrap docker.io
deps-images: DEPS += $(DEPS_IMAGES)
deps-images: deps ## the same, and what test-images needs
deps: ## install the Debian packages that the tests and the notebook need (as root or through sudo)
	@dpkg -s $(DEPS) >/dev/null 2>&1 || { $(SUDO) apt-get update && $(SUDO) env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(DEPS); }
