# Sets `kubectl` to one that is new enough; sourced after common.sh. Empty when there is none.
kubectl=
if on_path=$(command -v kubectl); then
    minor=$("$on_path" version --client 2>/dev/null | sed -n 's/^Client Version: v1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 30 ] && kubectl=$on_path
fi
if [ -z "$kubectl" ]; then
    "$root/e2e/scripts/fetch.sh" kubectl-1.36 || true
    fetched=$tools/kubectl-1.36/usr/bin/kubectl
    [ -x "$fetched" ] && kubectl=$fetched
fi
