#!/bin/sh
# Runs the Python that the environments are made from: $PYTHON, or the first of these that Spark 3.5 and 4.1 both know.
set -eu
for python in ${PYTHON:-} python3.11 python3.10 python3.12 python3 python; do
    if "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then
        exec "$python" "$@"
    fi
done
exit 127
