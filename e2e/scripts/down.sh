#!/usr/bin/env bash
# Stops what `make up` has started.
set -euo pipefail
. "$(dirname "$0")/common.sh"
PATH=$PATH:/usr/sbin:/sbin
skiff=$target_dir/release/skiff
[ -x "$skiff" ] || skiff=$(command -v skiff) || die "the skiff program is not built: make build"
options=()
[ -z "${PURGE:-}" ] || options+=(--purge)
# shellcheck disable=SC2086 # options are words
exec "$skiff" down "${options[@]}" ${DOWN_OPTIONS:-}
