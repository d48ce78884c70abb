#!/usr/bin/env bash
# Runs tests/plain_threads.rs under ThreadSanitizer. What that can show, and what not:
#
# - Only code without routines: the sanitizer does not know of stack switches.
# - The standard library is not instrumented (that needs its sources, -Zbuild-std). What it orders inside,
#   the end of a thread or the last drop of an Arc, is unknown to the sanitizer; such reports are suppressed
#   by name. Orders that our own atomics make are seen: channels, locks, wait queues, tokens, timers.
# - A fence is unknown to it, too; protocols with fences are checked by loom instead.
#
# Needs a compiler that lets unstable flags pass: a nightly, or the stable one by RUSTC_BOOTSTRAP.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$(rustc -vV | sed -n 's/^host: //p')
if ! ls "$(rustc --print sysroot)/lib/rustlib/$target/lib/"*tsan.a >/dev/null 2>&1; then
  echo "the compiler comes without ThreadSanitizer's library" >&2
  exit 1
fi
suppressions=$(mktemp)
trap 'rm -f "$suppressions"' EXIT
# By the function that frees or moves, wherever in the stack: every thread's stack begins in std::thread, so
# to suppress that would be to suppress all.
cat >"$suppressions" <<'LIST'
race:<alloc::sync::Arc<*> as core::ops::drop::Drop>::drop
race:alloc::sync::Arc<*>::drop_slow
race:std::thread::lifecycle::Packet
race:test::event::CompletedTest
LIST
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/tsan
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer -Cforce-frame-pointers=yes'
export TSAN_OPTIONS="suppressions=$suppressions"
cargo test -p openwork --test plain_threads --target "$target"
