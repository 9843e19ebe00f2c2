#!/bin/sh
# start.sh: JupyterLab with sparkmagic's kernels on the server of FIRESTEEL_URL; with FIRESTEEL_USER as that user, whose password is
# in the file of FIRESTEEL_PASSWORD_FILE.
set -eu
set -- "$@" --no-browser --notebook-dir "$HOME"
config=$HOME/.sparkmagic
configure() {
    /opt/notebook/bin/python /opt/firesteel/sparkmagic_config/install.py \
        --kernels /tmp/jupyter --config "$config" --notebooks "$HOME/firesteel" --url "${FIRESTEEL_URL:-http://127.0.0.1:8998}" "$@"
}
if [ -n "${FIRESTEEL_USER:-}" ]; then
    configure --user "$FIRESTEEL_USER" <"$FIRESTEEL_PASSWORD_FILE"
else
    configure
fi
export JUPYTER_PATH=/tmp/jupyter SPARKMAGIC_CONF_DIR="$config" SPARKMAGIC_CONF_FILE=config.json
exec /opt/notebook/bin/jupyter lab --ip "${LISTEN:-127.0.0.1}" --port "${PORT:-8888}" "$@"
