#!/usr/bin/env bash
# Puts a client library into a directory: install.sh python|node DIRECTORY. Does nothing when it is there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$2
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
case $1 in
python)
    if cmp -s "$here/requirements.txt" "$dir/requirements.txt"; then exit 0; fi
    python3 -m venv "$dir/venv"
    "$dir/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$dir/"
    ;;
node)
    if [ -d "$dir/node_modules" ] && cmp -s "$here/package.json" "$dir/package.json"; then exit 0; fi
    cp "$here/package.json" "$dir/"
    rm -rf "$dir/node_modules"
    if ! (cd "$dir" && npm install --no-audit --no-fund --silent); then
        rm -f "$dir/package.json"
        exit 1
    fi
    ;;
*)
    echo "install.sh python|node DIRECTORY" >&2
    exit 2
    ;;
esac
