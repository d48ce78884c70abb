#!/usr/bin/env bash
# Builds the runtime's tests for another machine and runs a list of them under user-mode emulation:
#
#   runtime/tests/emulate.sh aarch64|riscv64 [test ...]     (`lib` stands for the tests in src/)
#
# Without names: what depends on the machine, and a round through everything else: switches, walks, registers
# in signal handlers, stacks and their guards, spawning, joining, scopes, channels, locks, deterministic runs,
# travelling homes.
#
# What the emulator cannot do is left out by name below, with the reason. What it does not have and an older
# kernel does not have either (light guards, io_uring) is no reason: there the runtime falls back by itself.
#
# Installs what is missing (as root, on Debian). QEMU_PAGE=16384 or 65536 pretends pages of that size.
set -euo pipefail
cd "$(dirname "$0")/../.."

machine=${1:?aarch64 or riscv64}
shift
case $machine in
  aarch64) target=aarch64-unknown-linux-gnu cross=aarch64-linux-gnu libc=libc6-dev-arm64-cross ;;
  riscv64) target=riscv64gc-unknown-linux-gnu cross=riscv64-linux-gnu libc=libc6-dev-riscv64-cross ;;
  *) echo "$machine: aarch64 and riscv64 are known" >&2; exit 2 ;;
esac

if ! command -v "qemu-$machine" >/dev/null || ! command -v "$cross-gcc" >/dev/null; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "qemu-$machine or $cross-gcc is missing, and only root on Debian can install them here" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    qemu-user "gcc-$cross" "$libc" >/dev/null
fi
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
  rustup target add "$target"
fi

# name of a test, or the beginning of several: why it cannot run there
declare -A left_out=(
  [stack::arena::tests::little_address_space]='a limit on address space would be the emulator'"'"'s'
  [stack::arena::tests::mappings_go]='/proc/self/maps shows the emulator'"'"'s mappings among ours'
  [stack::pool::tests::a_burst_of_100_000]='mprotect guards are counted in the emulator'"'"'s mappings'
  [signals::a_donor_blocks_every_signal]='/proc names signals by the emulator'"'"'s numbers'
  [signals::a_donor_does_not_end_when_its]='/proc names signals by the emulator'"'"'s numbers'
  [signals::a_signal_to_the_process]='the kernel cannot start this program once more, by exec'
  [starved::a_system_that_refuses]='a thread of the emulator'"'"'s keeps its user, and its place'
  [monitor::]='reads /proc/self/task/*/syscall, where the emulator'"'"'s system calls stand'
  [the_profile_of_a]='the emulator gives timers of threads no clock of their own'
)
if [ $# -eq 0 ]; then
  set -- lib basics block_on stacks overflow scopes channel_ends deterministic_runs deterministic_sync sync_locks \
    homes homes_hazards
fi

arguments=()
for test in "$@"; do
  if [ "$test" = lib ]; then arguments+=(--lib); else arguments+=(--test "$test"); fi
done
skips=()
for name in "${!left_out[@]}"; do
  echo "left out: $name*: ${left_out[$name]}"
  skips+=(--skip "$name")
done

runner="qemu-$machine -L /usr/$cross"
if [ -n "${QEMU_PAGE:-}" ]; then runner="qemu-$machine -p $QEMU_PAGE -L /usr/$cross"; fi
name=${target^^}
name=${name//-/_}
export "CARGO_TARGET_${name}_LINKER=$cross-gcc" "CARGO_TARGET_${name}_RUNNER=$runner"
export OPENWORK_TEST_RUNNER=$runner
# One at a time: an emulated thread costs several, and some tests bound what they wait for.
exec cargo test --locked --no-fail-fast -p openwork --target "$target" "${arguments[@]}" -- --test-threads 1 "${skips[@]}"
