# Skiff: everything you can do with the project. Each target installs what it needs (Debian, as root).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up down test check bench build fuzz

# The directory cargo builds into.
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
SCRIPTS := e2e/scripts
FUZZ_SECONDS ?= 60

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

up: ## Build Skiff, start a cluster on this machine, deploy the demo and show its answer
	@$(SCRIPTS)/install.sh up
	@$(SCRIPTS)/up.sh

down: ## Stop the cluster and everything it has started; PURGE=1 deletes its data too
	@$(SCRIPTS)/down.sh

test: ## Run all tests: of every crate, then real clusters with kubectl and containers
	@$(SCRIPTS)/install.sh test
	@$(SCRIPTS)/test.sh

check: ## Run just what CI runs: format, lints, licences and advisories, all tests
	@.ci/run

fuzz: ## Feed every parser mutated input, FUZZ_SECONDS=60 each or as long as you like
	@$(SCRIPTS)/install.sh test
	SKIFF_FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test -p apiserver --test fuzz -- --nocapture

bench: ## Measure a release build and print the figures as a table
	@$(SCRIPTS)/install.sh test
	@$(SCRIPTS)/bench.sh

build: ## Build the release program
	@$(SCRIPTS)/install.sh build
	cargo build --release -p skiff
	@ls -lh $(TARGET)/release/skiff
