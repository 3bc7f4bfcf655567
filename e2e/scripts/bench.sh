#!/usr/bin/env bash
# Measures a release build; options of the benchmark are passed on.
set -euo pipefail
. "$(dirname "$0")/common.sh"
PATH=$PATH:/usr/sbin:/sbin
cd "$root"
cargo build --release -p skiff -p e2e --bins
SKIFF_BIN=$target_dir/release/skiff
case $SKIFF_BIN in /*) ;; *) SKIFF_BIN=$root/$SKIFF_BIN ;; esac
export SKIFF_BIN
# Thousands of watchers are thousands of connections.
ulimit -n "$(ulimit -Hn)"
if [ "${1:-}" != api ]; then
  [ "$(id -u)" = 0 ] || die "the benchmark runs containers: please run it as root, or only \`bench.sh api\`"
  e2e/scripts/build-images.sh "$SKIFF_BIN" "$root/target/e2e-images"
fi
exec "$target_dir/release/bench" "$@"
