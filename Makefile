# Short names for the commands of the README. `make` alone lists them.
URL ?= http://127.0.0.1:8080
SECONDS ?= 3600

.DEFAULT_GOAL := help
.PHONY: help run-local build test lint test-api soak clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run-local: ## Serve on 127.0.0.1:8080
	cargo run --release

build: ## Build bin/openwork
	cargo build --release
	@target=$$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/') && \
		mkdir -p bin && cp "$$target/release/openwork" bin/openwork && echo bin/openwork

test: ## Run every test but the browser's
	cargo test --workspace

lint: ## Check format, clippy and documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

test-api: ## Run the README's and the guide's commands against a server of their own
	cargo test -p openwork-cmd --test walk_through

soak: ## Soak the runtime for SECONDS, an hour if not said
	cargo run --release -p openwork-workloads --example soak -- $(SECONDS)

clean: ## Remove what was built
	cargo clean
	rm -rf bin
