#!/usr/bin/env bash
# Builds the demo program (static) and packs it with busybox into two local images, without any registry:
# `build-images.sh SKIFF DIR` writes DIR/hello-1.tar and DIR/hello-2.tar.
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# = 2 ] || die "usage: build-images.sh SKIFF DIR"
skiff=$1
out=$2
busybox=$(command -v busybox) || die "busybox is missing: apt install busybox-static"

# glibc linked statically; given a target, cargo does not apply the flag to what runs while building.
(cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release -p hello --target "$host")
program=$target_dir/$host/release/hello
mkdir -p "$out"
for version in 1 2; do
    archive=$out/hello-$version.tar
    if [ "$archive" -nt "$program" ] && [ "$archive" -nt "$busybox" ]; then continue; fi
    printf '%s\n' "$version" >"$out/version"
    "$skiff" image pack --name "skiff.local/hello:$version" --output "$archive.part" --busybox "$busybox" \
        "$program=/hello" "$out/version=/version"
    mv "$archive.part" "$archive"
    rm -f "$out/version"
done
