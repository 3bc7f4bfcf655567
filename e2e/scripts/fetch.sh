#!/usr/bin/env bash
# Fetches pinned versions of programs from Debian: `fetch.sh kubectl-1.36 kubectl-1.32 etcd-3.5`.
#
# Debian 13 and sid have newer ones than Debian 12, as static programs. They are taken from the mirror this
# machine already uses, with an apt configuration of their own that verifies signatures with the archive's keyring
# and changes nothing on the machine. What cannot be had is reported and left out: tests that need it are skipped.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# The suite and the package of a program.
source_of() {
    case $1 in
        kubectl-1.32) echo trixie kubectl ;;
        kubectl-1.36) echo sid kubectl ;;
        etcd-3.5) echo trixie etcd-server ;;
        *) die "no suite is known that has $1" ;;
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
for program in "$@"; do
    if [ -x "$tools/$program/usr/bin/${program%-*}" ]; then continue; fi
    wanted+=("$program")
done
[ ${#wanted[@]} -gt 0 ] || exit 0

unavailable() { say "${wanted[*]} cannot be fetched: $*"; exit 3; }

command -v apt-get >/dev/null && command -v dpkg >/dev/null || unavailable "this is no Debian"
uri=$(mirror)
[ -n "$uri" ] || unavailable "no Debian mirror in this machine's apt sources"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f $keyring ] || unavailable "$keyring is missing"

work=$(mktemp -d "${TMPDIR:-/tmp}/skiff-fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
for program in "${wanted[@]}"; do
    read -r suite _ <<<"$(source_of "$program")"
    echo "deb [signed-by=$keyring] $uri $suite main"
done | sort -u >"$work/sources.list"
options=(
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Sandbox::User=root
)
say "fetching ${wanted[*]} from $uri"
if ! apt-get "${options[@]}" -qq update >"$work/log" 2>&1; then
    unavailable "$(tail -n 1 "$work/log")"
fi
missing=0
for program in "${wanted[@]}"; do
    read -r _ package <<<"$(source_of "$program")"
    exact=$(apt-cache "${options[@]}" madison "$package" |
        awk -v v="${program##*-}." 'index($3, v) == 1 { print $3; exit }')
    if [ -z "$exact" ]; then
        say "$program: the mirror has none"
        missing=3
        continue
    fi
    rm -rf "$work/deb" && mkdir "$work/deb"
    if ! (cd "$work/deb" && apt-get "${options[@]}" -qq download "$package=$exact") >"$work/log" 2>&1; then
        say "$program: $(tail -n 1 "$work/log")"
        missing=3
        continue
    fi
    dpkg -x "$work/deb/$package"_*.deb "$work/deb/x"
    mkdir -p "$tools"
    rm -rf "${tools:?}/$program"
    mv "$work/deb/x" "$tools/$program"
    say "$package $exact is in $tools/$program/usr/bin"
done
exit $missing
