#!/usr/bin/env bash
# Builds what the suite drives: the debug server, and beside it the same with the fault tests' points compiled in.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
"$cargo" build --locked --features failpoints
cp target/debug/firesteel target/debug/firesteel-failpoints.new
mv target/debug/firesteel-failpoints.new target/debug/firesteel-failpoints
"$cargo" build --locked
