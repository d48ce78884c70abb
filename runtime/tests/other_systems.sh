#!/usr/bin/env bash
# Checks that the library compiles for systems on which nobody runs it here; docs/platforms.md says what that is worth.
# No linker and no C compiler of theirs is needed. Installs the targets by rustup.
set -euo pipefail
cd "$(dirname "$0")/../.."

targets=(x86_64-pc-windows-gnu aarch64-apple-darwin x86_64-unknown-freebsd i686-unknown-linux-gnu)
# These run under emulation, which takes longer: emulate.sh.
targets+=(aarch64-unknown-linux-gnu riscv64gc-unknown-linux-gnu)
for target in "${targets[@]}"; do
  if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then rustup target add "$target"; fi
  echo "$target"
  cargo check --quiet --locked -p openwork -p openwork-workloads --target "$target"
done
