#!/bin/sh
# Runs the Python that the environments are made from: $PYTHON, or the first of these that Spark 3.5 and all that is pinned can run on.
set -eu
for python in ${PYTHON:-} python3.11 python3.12 python3 python; do
    if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
        exec "$python" "$@"
    fi
done
exit 127
