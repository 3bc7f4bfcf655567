#!/usr/bin/env bash
# Runs every test of the workspace and ends with one line `N passed, N failed, N skipped`.
# Arguments are passed to the tests, such as a part of a name.
set -uo pipefail
. "$(dirname "$0")/common.sh"
PATH=$PATH:/usr/sbin:/sbin
cd "$root" || exit 1

began=$SECONDS
"$root/e2e/scripts/fetch.sh" kubectl-1.36 kubectl-1.32 etcd-3.5 || true
# One build for everything; the program under test is the one cargo builds beside its tests.
cargo build --workspace --bins || die "the build failed"
cargo test --workspace --no-run || die "the build of the tests failed"
say "built after $((SECONDS - began)) s"
SKIFF_BIN=$target_dir/debug/skiff
case $SKIFF_BIN in /*) ;; *) SKIFF_BIN=$root/$SKIFF_BIN ;; esac
export SKIFF_BIN
e2e/scripts/build-images.sh "$SKIFF_BIN" "$root/target/e2e-images" || die "the demo image could not be built"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --workspace --no-fail-fast -- "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

grep -h '^SKIPPED ' "$log" | sort | uniq -c | sed 's/^ *[0-9]* //' || true
# "test result: ok. 3 passed; 0 failed; 1 ignored; ..." of every test binary, which counts a test that has skipped itself
# as passed.
read -r passed failed skipped <<<"$(awk '/^test result:/ {
    for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) p += $(i - 1)
        if ($i ~ /^failed/) f += $(i - 1)
        if ($i ~ /^ignored/) s += $(i - 1)
    }
}
/^SKIPPED BY ITSELF / { p--; s++ }
END { print p + 0, f + 0, s + 0 }' "$log")"
# A binary that died has told no result.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
say "all tests took $((SECONDS - began)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
