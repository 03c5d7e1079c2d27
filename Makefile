# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.

# Cargo's folder for what it builds; set CARGO_TARGET_DIR to share it between clones.
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

STET := $(CARGO_TARGET_DIR)/release/stet
WEB_SOURCES := $(shell find web/src web/public -type f 2>/dev/null) \
	web/index.html web/package.json web/package-lock.json web/vite.config.ts web/tsconfig.json web/svelte.config.js

.PHONY: help demo build web test test-rust test-web test-browser lint bench soak fmt clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: build ## Build everything and start a design node with the sample project
	@$(STET) demo $(DEMO_ARGS)

build: web ## Build the front end and the server, optimised
	@scripts/need-cargo
	cargo build --release --locked --bin stet

web: web/dist/index.html ## Build the front end

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@scripts/need-node
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run --silent build
	@touch $@

test: ## Run everything: lints, Rust, front end, browser (installs Chromium if it can)
	@scripts/test

lint: ## Check the form of all code, and nothing else
	@scripts/test lint

bench: build ## Measure Stet
	cargo build --release --locked --package stet-server --example edit_load
	@bench/run $(BENCH_ARGS)

soak: build ## Kill the server at random moments and count what is lost (SOAK_ARGS="--kills 10000")
	@scripts/need-postgres
	@STET=$(STET) scripts/soak $(SOAK_ARGS)

fmt: ## Bring all code into form
	cargo fmt --all
	cd web && npx eslint --fix src

clean: ## Remove what was built
	rm -rf target web/dist web/node_modules e2e/node_modules
