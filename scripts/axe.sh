#!/bin/sh
# axe.sh: puts axe-core, which finds what keeps people from using a page, into .cache/axe, once, with the content that is pinned here. Says where.
set -eu
cd "$(dirname "$0")/.."
version=4.14.1
pinned=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
script=.cache/axe/axe.min.js
mkdir -p .cache/axe
exec 9>.cache/axe/lock
flock 9
if ! echo "$pinned  $script" | sha256sum --check --status 2>/dev/null; then
    scripts/need.sh npm
    (cd .cache/axe && npm pack "axe-core@$version" --silent >/dev/null)
    tar --extract --gzip --file ".cache/axe/axe-core-$version.tgz" --directory .cache/axe --strip-components 1 package/axe.min.js
    rm ".cache/axe/axe-core-$version.tgz"
    echo "$pinned  $script" | sha256sum --check --quiet >&2
fi
echo "$PWD/$script"
