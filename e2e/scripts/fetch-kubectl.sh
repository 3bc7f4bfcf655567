#!/usr/bin/env bash
# Fetches pinned versions of kubectl from Debian: `fetch-kubectl.sh 1.36 1.32`.
#
# Debian 13 and sid have newer kubectls than Debian 12, as static programs. They are taken from the mirror this
# machine already uses, with an apt configuration of their own that verifies signatures with the archive's keyring
# and changes nothing on the machine. What cannot be had is reported and left out: tests that need it are skipped.
set -euo pipefail
. "$(dirname "$0")/common.sh"

suite_of() {
    case $1 in
        1.32) echo trixie ;;
        1.36) echo sid ;;
        *) die "no suite is known for kubectl $1" ;;
    esac
}

# The mirror of this machine's own Debian sources.
mirror() {
    local uri
    uri=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null |
        sed -n 's/^URIs:[[:space:]]*//p' | tr ' ' '\n' | grep -E '/debian/?$' | head -n 1) || true
    [ -n "$uri" ] || uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?\([^[:space:]]*\).*/\2/p' |
        grep -E '/debian/?$' | head -n 1) || true
    echo "${uri%/}"
}

wanted=()
for version in "$@"; do
    if [ -x "$tools/kubectl-$version/usr/bin/kubectl" ]; then continue; fi
    wanted+=("$version")
done
[ ${#wanted[@]} -gt 0 ] || exit 0

unavailable() { say "kubectl ${wanted[*]} cannot be fetched: $*"; exit 3; }

command -v apt-get >/dev/null && command -v dpkg >/dev/null || unavailable "this is no Debian"
uri=$(mirror)
[ -n "$uri" ] || unavailable "no Debian mirror in this machine's apt sources"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f $keyring ] || unavailable "$keyring is missing"

work=$(mktemp -d "${TMPDIR:-/tmp}/skiff-kubectl.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
: >"$work/sources.list"
for version in "${wanted[@]}"; do
    echo "deb [signed-by=$keyring] $uri $(suite_of "$version") main" >>"$work/sources.list"
done
options=(
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Sandbox::User=root
)
say "fetching kubectl ${wanted[*]} from $uri"
if ! apt-get "${options[@]}" -qq update >"$work/log" 2>&1; then
    unavailable "$(tail -n 1 "$work/log")"
fi
missing=0
for version in "${wanted[@]}"; do
    exact=$(apt-cache "${options[@]}" madison kubectl | awk -v v="$version." 'index($3, v) == 1 { print $3; exit }')
    if [ -z "$exact" ]; then
        say "kubectl $version: the mirror has none"
        missing=3
        continue
    fi
    rm -rf "$work/deb" && mkdir "$work/deb"
    if ! (cd "$work/deb" && apt-get "${options[@]}" -qq download "kubectl=$exact") >"$work/log" 2>&1; then
        say "kubectl $version: $(tail -n 1 "$work/log")"
        missing=3
        continue
    fi
    dpkg -x "$work"/deb/kubectl_*.deb "$work/deb/x"
    mkdir -p "$tools"
    rm -rf "$tools/kubectl-$version"
    mv "$work/deb/x" "$tools/kubectl-$version"
    say "kubectl $exact is in $tools/kubectl-$version/usr/bin"
done
exit $missing
