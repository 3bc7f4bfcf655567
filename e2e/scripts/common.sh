# What the scripts share; sourced, not run.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Tools that are fetched live here whatever cargo's target directory is.
tools=$root/target/tools
host=$(rustc -vV 2>/dev/null | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$root/target}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
