#!/usr/bin/env bash
# binaries.sh [release]: builds what the suite drives, the debug server unless release is asked for, and beside it the same with the
# fault tests' points and OpenTelemetry compiled in.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
profile=${1:-debug}
options=(--locked)
[ "$profile" = debug ] || options+=(--profile "$profile")
built=target/$profile/firesteel
"$cargo" build "${options[@]}" --features failpoints,otel
cp "$built" "$built-failpoints.new"
mv "$built-failpoints.new" "$built-failpoints"
"$cargo" build "${options[@]}"
