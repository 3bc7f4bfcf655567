#!/usr/bin/env bash
# Builds Skiff, starts a cluster, deploys the demo, shows its answers and how long each step took.
# SKIFF_DATA_DIR and SKIFF_RUN_DIR are heeded; UP_OPTIONS are passed to `skiff up`.
set -euo pipefail
. "$(dirname "$0")/common.sh"
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || die "a cluster runs containers: please run make up as root"
cd "$root"

began=$(date +%s.%N)
times=()
# Runs a step and remembers its time.
step() {
    local name=$1 start
    shift
    start=$(date +%s.%N)
    "$@"
    times+=("$(awk -v a="$start" -v b="$(date +%s.%N)" -v n="$name" 'BEGIN { printf "%9.2f s  %s", b - a, n }')")
}

say "== building (the first time takes some minutes)"
step "build" cargo build --release -p skiff
skiff=$target_dir/release/skiff
case $skiff in /*) ;; *) skiff=$root/$skiff ;; esac
. e2e/scripts/kubectl.sh
[ -n "$kubectl" ] || die "no kubectl of version 1.30 or newer; please install one"

say "== starting the cluster"
# shellcheck disable=SC2086 # options are words
step "skiff up, to node Ready" "$skiff" up ${UP_OPTIONS:-}
data=${SKIFF_DATA_DIR:-/var/lib/skiff}
export KUBECONFIG=$data/admin.kubeconfig

say "== the demo image, without a registry"
step "demo image built" e2e/scripts/build-images.sh "$skiff" "$root/target/e2e-images"
import() { for v in 1 2; do "$skiff" image import "$root/target/e2e-images/hello-$v.tar"; done; }
step "demo images imported" import

say "== kubectl apply -f manifests/hello.yaml"
deploy() {
    "$kubectl" apply -f "${HELLO_MANIFEST:-manifests/hello.yaml}"
    "$kubectl" rollout status deployment/hello --timeout=120s
}
step "demo rolled out, three pods Ready" deploy
"$kubectl" get pods -l app=hello -o wide

ip=$("$kubectl" get service hello -o jsonpath='{.spec.clusterIP}')
port=$("$kubectl" get service hello -o jsonpath='{.spec.ports[0].nodePort}')
node=$("$kubectl" get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
ask() {
    say "== http://$1/ ($2)"
    curl --silent --show-error --fail --noproxy '*' --max-time 5 --retry 5 --retry-connrefused "http://$1/"
}
step "answer through the ClusterIP" ask "$ip" "the Service's ClusterIP"
step "answer through the NodePort" ask "$node:$port" "the Service's NodePort"

say ""
say "This run:"
printf '%s\n' "${times[@]}" >&2
awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { printf "%9.2f s  altogether\n", b - a }' >&2
short=kubectl
[ "$kubectl" = "$(command -v kubectl || true)" ] || short=$kubectl
cat >&2 <<NEXT

Try next:
  export KUBECONFIG=$KUBECONFIG
  $short get all -o wide
  $short scale deployment hello --replicas=10
  $short set image deployment/hello hello=skiff.local/hello:2 && $short rollout status deployment/hello
  $short rollout undo deployment/hello
  $short logs -f deployment/hello
  $short exec -it deployment/hello -- sh
  $short port-forward service/hello 8080:80
  curl http://$node:$port/
  $skiff status
  make down          stops everything; PURGE=1 deletes the data too
NEXT
