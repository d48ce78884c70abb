#!/usr/bin/env bash
# The library without some of its features: every combination compiles without a warning, and the tests that need none
# of what is missing pass without each, and without all.
#
#   runtime/tests/features.sh [check]      (`check`: without the tests)
set -euo pipefail
cd "$(dirname "$0")/../.."

combinations=('' balance growth preemption balance,growth balance,preemption growth,preemption)
for features in "${combinations[@]}"; do
  echo "clippy: ${features:-none}"
  cargo clippy --quiet --locked -p openwork --all-targets --no-default-features --features "$features" -- -D warnings
done
# What the service is built from has no need of any.
cargo check --quiet --locked -p openwork-cmd --no-default-features
if [ "${1:-}" = check ]; then exit; fi

for features in '' growth,preemption balance,preemption balance,growth; do
  echo "tests: ${features:-none}"
  cargo test --quiet --locked --no-fail-fast -p openwork --lib --tests --no-default-features --features "$features"
done
