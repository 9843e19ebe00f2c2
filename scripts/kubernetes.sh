#!/bin/sh
# kubernetes.sh: builds Kubernetes' API server, controllers and scheduler into .cache/k8s, once for what scripts/kubernetes pins. Says where
# the program is.
set -eu
cd "$(dirname "$0")/.."
cache=$PWD/.cache/k8s
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
stamp=$(cat scripts/kubernetes/* | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$cache/stamp" 2>/dev/null)" != "$stamp" ]; then
    scripts/need.sh go
    (cd scripts/kubernetes && go build -mod=readonly -trimpath -ldflags='-s -w' -o "$cache/kubernetes" .) >&2
    echo "$stamp" >"$cache/stamp"
fi
echo "$cache/kubernetes"
