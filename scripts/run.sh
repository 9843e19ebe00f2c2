#!/usr/bin/env bash
# Serves from the checkout; what to try comes first, since the server takes over the terminal.
set -euo pipefail
cd "$(dirname "$0")/.."
url="http://$LISTEN"
mkdir -p "$STATE"
chmod 700 "$STATE"
cat <<TRY

When the line 'firesteel listening on $url' appears, try in another terminal:

  curl -H 'Content-Type: application/json' -d '{"kind": "pyspark", "name": "first"}' $url/sessions
  curl -H 'Content-Type: application/json' -d '{"code": "1 + 1"}' $url/sessions/first/statements
  until curl -s $url/sessions/first/statements/0 | grep '"available"'; do sleep 1; done

'make notebook' opens JupyterLab on it. Ctrl-C stops the server and its sessions.

TRY
# The checkout's own PySpark, unless SPARK_HOME says otherwise.
PATH="$PWD/.venv/spark-4.1/bin:$PATH" exec target/release/firesteel serve \
    --listen "$LISTEN" --state-dir "$STATE" --set shutdown.sessions=end
