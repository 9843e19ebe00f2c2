#!/bin/sh
# Makes a notebook host ready for a Firesteel on another one; a second run changes nothing but the settings.
#
#   start.sh URL [none|basic|kerberos|token] [USER]
#
# basic and token read the password or the token from standard input:
#   start.sh https://spark.example.com/firesteel basic alice < password-file
#
#   FIRESTEEL_PYTHON    a Python that has sparkmagic; without it a virtual environment of its own is made,
#                       in FIRESTEEL_HOME (~/.local/share/firesteel)
#   FIRESTEEL_NOTEBOOKS where the example notebooks go (~/firesteel)
set -eu
VERSION=0.23.0
here=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -lt 1 ] || [ $# -gt 3 ]; then
    echo "usage: start.sh URL [none|basic|kerberos|token] [USER]" >&2
    exit 2
fi
url=$1
auth=${2:-none}
user=${3:-}
data=${JUPYTER_DATA_DIR:-$HOME/.local/share/jupyter}
config=${SPARKMAGIC_CONF_DIR:-$HOME/.sparkmagic}
notebooks=${FIRESTEEL_NOTEBOOKS:-$HOME/firesteel}

python=${FIRESTEEL_PYTHON:-}
if [ -z "$python" ]; then
    home=${FIRESTEEL_HOME:-$HOME/.local/share/firesteel}
    python=$home/bin/python
    [ -x "$python" ] || python3 -m venv "$home"
fi
found=$("$python" -c 'from importlib.metadata import version; print(version("sparkmagic"))' 2>/dev/null || true)
if [ "$found" != "$VERSION" ]; then
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("INCLUDEPY"))')
    if ! command -v krb5-config >/dev/null || ! command -v cc >/dev/null || [ ! -f "$headers/Python.h" ]; then
        echo "sparkmagic needs a C compiler and the headers of Kerberos and Python:" \
            "apt-get install gcc libc6-dev libkrb5-dev python3-dev" >&2
        exit 1
    fi
    "$python" -m pip install --quiet --disable-pip-version-check "sparkmagic==$VERSION"
fi
"$python" "$here/install.py" --kernels "$data" --config "$config" --notebooks "$notebooks" \
    --url "$url" --auth "$auth" --user "$user"
echo "The kernels PySpark, Spark, SparkR and Spark SQL run on $url; examples are in $notebooks."
# The server's word, if it can be had now: a tunnel may come later.
"$python" - "$url" <<'PROBE'
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1].rstrip("/") + "/ping", timeout=5).read()
except (OSError, ValueError) as error:
    print(f"No Firesteel answers there now: {error}")
PROBE
