#!/usr/bin/env bash
# Installs what a target of the Makefile needs and is not there: `install.sh build|up|test`.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# program or file : Debian's package
build=(gcc:gcc protoc:protobuf-compiler /usr/include/google/protobuf/empty.proto:libprotobuf-dev
    /usr/lib/x86_64-linux-gnu/libc.a:libc6-dev /etc/ssl/certs/ca-certificates.crt:ca-certificates)
up=(containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins nft:nftables ip:iproute2
    busybox:busybox-static conntrack:conntrack curl:curl)
tests=(etcd:etcd-server script:bsdutils file:file)

[ "$(uname -m)" = x86_64 ] || build=("${build[@]/x86_64-linux-gnu/$(uname -m)-linux-gnu}")
case ${1:-} in
    build) wanted=("${build[@]}") ;;
    up) wanted=("${build[@]}" "${up[@]}") ;;
    test) wanted=("${build[@]}" "${up[@]}" "${tests[@]}") ;;
    *) die "usage: install.sh build|up|test" ;;
esac

command -v cargo >/dev/null || die "Rust is missing: see https://rustup.rs, version 1.95 or newer"
# Debian keeps some of these out of an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin

packages=()
for pair in "${wanted[@]}"; do
    need=${pair%%:*}
    case $need in
        /*) [ -e "$need" ] || packages+=("${pair##*:}") ;;
        *) command -v "$need" >/dev/null || packages+=("${pair##*:}") ;;
    esac
done
[ ${#packages[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || die "please install these yourself (they are Debian's names): ${packages[*]}"
[ "$(id -u)" = 0 ] || die "not root; please install: apt-get install --no-install-recommends ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
say "installing ${packages[*]}"
install() { apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${packages[@]}"; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists may be missing or too old on a fresh machine.
install >"$log" 2>&1 || { apt-get update -qq >>"$log" 2>&1 && install >>"$log" 2>&1; } || { cat "$log" >&2; exit 1; }
