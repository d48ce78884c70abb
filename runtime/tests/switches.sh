#!/usr/bin/env bash
# Runs the tests once under each of the main switches: what may be turned on must break nothing that is promised
# without it.
#
#   runtime/tests/switches.sh [switch ...]
#
# Where a test builds its runtime by `support::runtime`, as most do, the switch is on (`support::switched`): the
# others are about one configuration. Travelling homes are a build of their own: see `.ci/nightly`.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ $# -eq 0 ]; then set -- hand_off forced balance mprotect io_uring; fi
failed=()
for switch in "$@"; do
  echo "=== $switch"
  if [ "$switch" = io_uring ]; then
    setting=OPENWORK_TEST_IO=io_uring
  else
    setting=OPENWORK_TEST_SWITCH=$switch
  fi
  env "$setting" cargo test --locked --no-fail-fast -p openwork --test '*' || failed+=("$switch")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed under: ${failed[*]}" >&2
  exit 1
fi
