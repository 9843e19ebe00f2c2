#!/usr/bin/env bash
# An initialization action for Dataproc: Firesteel on the master, and one Python for drivers and executors on every node.
#
#   gcloud dataproc clusters create NAME --initialization-actions gs://BUCKET/firesteel.sh \
#       --metadata firesteel-deb=gs://BUCKET/firesteel_0.1.0_amd64.deb,firesteel-packages='pandas pyarrow'
#
# Metadata: dataproc-role       Master or Worker; Dataproc sets it
#           firesteel-deb       the package (make deb): a gs:// address, or a path of the image's; needed on the master
#           firesteel-python    the Python of drivers and executors; /opt/conda/default/bin/python where there is one, else python3
#           firesteel-packages  Python packages for it, as pip takes them, without a blank inside of each
#
# It may be run again: what is there stays as it is, and the service is restarted only when something has changed.
set -euo pipefail

metadata() { # NAME DEFAULT
    /usr/share/google/get_metadata_value "attributes/$1" 2>/dev/null || echo "$2"
}

role=$(metadata dataproc-role '')
deb=$(metadata firesteel-deb '')
packages=$(metadata firesteel-packages '')
python=$(metadata firesteel-python '')
if [ -z "$python" ]; then
    python=/opt/conda/default/bin/python
    [ -x "$python" ] || python=$(command -v python3) || {
        echo "There is no python3: name one in the metadata firesteel-python." >&2
        exit 1
    }
fi
spark=/usr/lib/spark
changed=

case "$role" in
Master | Worker) ;;
*)
    echo "The metadata dataproc-role is '$role': this script runs on a Dataproc node, whose role is Master or Worker." >&2
    exit 1
    ;;
esac
if [ "$role" = Master ] && [ -z "$deb" ]; then
    echo "The metadata firesteel-deb is missing: name the Debian package, such as gs://BUCKET/firesteel_0.1.0_amd64.deb." >&2
    exit 1
fi

# Puts standard input into a file, unless that is what it has.
put() { # FILE
    local new
    new=$(mktemp)
    cat >"$new"
    if ! cmp -s "$new" "$1"; then
        install -D -m 644 "$new" "$1"
        changed=yes
    fi
    rm -f "$new"
}

# Puts lines between two marks of a file, in the place of those that are there.
block() { # FILE
    local mark='# firesteel' kept
    kept=$(sed "/^$mark begin\$/,/^$mark end\$/d" "$1" 2>/dev/null || true)
    # No pipe: put says whether something has changed.
    put "$1" <<<"${kept:+$kept$'\n'}$mark begin"$'\n'"$(cat)"$'\n'"$mark end"
}

# One Python everywhere, and strings that hash the same in each: joins and groupings of Python objects are wrong otherwise.
block "$spark/conf/spark-env.sh" <<ENV
export PYSPARK_PYTHON=$python
export PYTHONHASHSEED=0
ENV
block "$spark/conf/spark-defaults.conf" <<CONF
spark.executorEnv.PYTHONHASHSEED=0
CONF

if [ -n "$packages" ]; then
    read -ra wanted <<<"$packages"
    "$python" -m pip install --quiet --disable-pip-version-check "${wanted[@]}"
fi

[ "$role" = Master ] || exit 0

package=$deb
if [[ $deb == gs://* ]]; then
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    package=$directory/${deb##*/}
    gsutil -q cp "$deb" "$package"
fi
if [ "$(dpkg-query -W -f '${db:Status-Status} ${Version}' firesteel 2>/dev/null)" != "installed $(dpkg-deb -f "$package" Version)" ]; then
    # The configuration below may be there already, from another run.
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "$package"
    changed=yes
fi

# Loopback: a notebook on the master, or a tunnel. For others: access.mode and TLS.
put /etc/firesteel/firesteel.toml <<CONFIG
[spark]
home = "$spark"
python = "$python"
master = "yarn"
deploy_mode = "client"
CONFIG
put /etc/systemd/system/firesteel.service.d/dataproc.conf <<UNIT
[Service]
Environment=HADOOP_CONF_DIR=/etc/hadoop/conf
Environment=PYSPARK_PYTHON=$python
Environment=PYTHONHASHSEED=0
UNIT

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable firesteel.socket firesteel.service
    systemctl start firesteel.socket
    if [ -n "$changed" ] || ! systemctl --quiet is-active firesteel.service; then
        systemctl restart firesteel.service
    fi
fi
