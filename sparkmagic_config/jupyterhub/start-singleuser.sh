#!/bin/sh
# Prepares a user's notebooks for Firesteel, as that user, and then starts the command that is given, such as
# jupyterhub-singleuser. JupyterHub's Spawner.cmd names it: jupyterhub_config.py beside it.
#
#   FIRESTEEL_URL       the server
#   FIRESTEEL_AUTH      none, basic, kerberos or token; none where it is not set
#   FIRESTEEL_USER      Basic's name; JUPYTERHUB_USER where it is not set
#   FIRESTEEL_SECRET    Basic's password, or the API token; no kernel inherits it
#   FIRESTEEL_PYTHON    the Python that has sparkmagic; python3 where it is not set
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
auth=${FIRESTEEL_AUTH:-none}
secret=${FIRESTEEL_SECRET:-}
unset FIRESTEEL_SECRET
if [ $# -eq 0 ]; then
    echo "usage: start-singleuser.sh COMMAND [ARGUMENT...], such as jupyterhub-singleuser" >&2
    exit 2
fi
if [ -z "${FIRESTEEL_URL:-}" ]; then
    echo "FIRESTEEL_URL is not set: it names the server, such as https://spark.example.com/firesteel" >&2
    exit 2
fi
options="--auth $auth"
user=""
if [ "$auth" = basic ]; then
    user=${FIRESTEEL_USER:-${JUPYTERHUB_USER:-}}
fi
# Without a secret, the one that the user's config.json has is kept.
if [ -z "$secret" ]; then
    options="$options --keep"
fi
# $options has words of this script's own, and $auth, which install.py checks.
# shellcheck disable=SC2086
printf '%s\n' "$secret" | "${FIRESTEEL_PYTHON:-python3}" "$here/install.py" \
    --kernels "${JUPYTER_DATA_DIR:-$HOME/.local/share/jupyter}" --config "${SPARKMAGIC_CONF_DIR:-$HOME/.sparkmagic}" \
    --notebooks "$HOME/firesteel" --url "$FIRESTEEL_URL" --user "$user" $options ||
    echo "Notebooks are not set up for Firesteel: the line above says why." >&2
exec "$@"
