#!/usr/bin/env bash
# Runs under miri what miri can run: the interpreter knows no assembly and few system calls, so routines have OS threads
# (the feature `portable`), and what is left are the scheduler's queues, blocks and their life, joins, scopes, channels,
# locks, tokens and timers. It reports undefined behaviour, data races and leaks, with the memory model's weak orders tried.
#
#   runtime/tests/miri.sh [test ...]
#
# By Tree Borrows: crossbeam-epoch, below the deques, breaks the older rules (Stacked Borrows). Needs a nightly
# compiler with the component `miri`, and patience: it runs some hundred times slower.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ $# -eq 0 ]; then set -- plain_threads basics; fi
tests=()
for test in "$@"; do tests+=(--test "$test"); done
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri
export MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-permissive-provenance -Zmiri-tree-borrows'
cargo +nightly miri test -p openwork --features portable "${tests[@]}"
