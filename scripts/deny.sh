#!/bin/sh
# Licences and bans of the dependencies. Advisories need a database that is not at hand, so they are not asked for.
set -eu
if cargo deny --version >/dev/null 2>&1; then
    exec cargo deny --offline check licenses bans
fi
echo "skipped: cargo-deny is not installed, so licences and bans were not checked (cargo install cargo-deny)"
