#!/usr/bin/env bash
# JupyterLab on loopback with sparkmagic's kernels, configured by sparkmagic_config/config.none.json, on the running server;
# it opens on the example notebooks, copies that are the user's to change.
set -euo pipefail
cd "$(dirname "$0")/.."
endpoint="${ENDPOINT:-http://127.0.0.1:8998}"
python="$PWD/.venv/notebook/bin/python"
home="$PWD/.venv/notebook/home"
if ! "$python" - "$endpoint" <<'PROBE'; then
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1] + "/ping", timeout=5).read()
except OSError as error:
    sys.exit(f"No Firesteel answers at {sys.argv[1]} ({error}): start it with 'make run', or set ENDPOINT.")
PROBE
    exit 1
fi
"$python" sparkmagic_config/install.py --kernels "$home/data" --config "$home/config" \
    --notebooks "$home/notebooks" --url "$endpoint"
export JUPYTER_DATA_DIR="$home/data" SPARKMAGIC_CONF_DIR="$home/config" SPARKMAGIC_CONF_FILE=config.json
echo "The kernels are PySpark, Spark, SparkR and Spark SQL; their sessions run on $endpoint."
echo "Examples: $(cd "$home/notebooks" && echo *.ipynb)"
options=(--ip 127.0.0.1 --notebook-dir "$home/notebooks")
# Jupyter refuses root otherwise; it listens on loopback and asks for its token all the same.
[ "$(id -u)" -ne 0 ] || options+=(--allow-root)
exec .venv/notebook/bin/jupyter lab "${options[@]}" "$@"
