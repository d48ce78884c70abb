#!/usr/bin/env bash
# The runtime without stacks and threads, on WebAssembly: checks that it compiles for both targets, runs its tests
# under Node (20 or newer), and that what would wait within a turn is refused in words. Installs the targets by rustup.
set -euo pipefail
cd "$(dirname "$0")/../.."

for target in wasm32-unknown-unknown wasm32-wasip1; do
  if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then rustup target add "$target"; fi
done
cargo check --quiet --locked -p openwork --target wasm32-unknown-unknown

export NODE_NO_WARNINGS=1
export CARGO_TARGET_WASM32_WASIP1_RUNNER="node $PWD/runtime/tests/wasm/run.mjs"
tests=(cargo test --quiet --locked -p openwork --target wasm32-wasip1 --test stackless --)
"${tests[@]}"

# A panic ends the program there: one run for each.
refused() {
  if told=$("${tests[@]}" --ignored --exact --nocapture "$1" 2>&1); then
    echo "$1: was not refused" >&2
    exit 1
  fi
  if ! grep -qF "$2" <<<"$told"; then
    printf '%s: not a word of "%s" in:\n%s\n' "$1" "$2" "$told" >&2
    exit 1
  fi
  echo "$1: ok"
}
refused refused_a_wait_within_a_turn 'on WebAssembly a routine has no stack of its own'
refused refused_a_sleep_within_a_turn 'on WebAssembly a routine has no stack of its own'
refused refused_a_wait_without_end 'this wait would never end'
refused refused_turns_within_a_turn 'a routine cannot run the turns of others'
