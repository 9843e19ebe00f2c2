#!/bin/sh
# install.sh: in a Debian or Ubuntu image, installs what Firesteel runs on: Java, Python, a user, and Spark below /opt/spark.
# SPARK is the minor version of a file requirements/spark-SPARK.txt beside this script, or `none`; PACKAGES are Python packages for sessions.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
# Spark's scripts call ps. Kerberos needs MIT's library.
apt-get install -y --no-install-recommends \
    ca-certificates libgssapi-krb5-2 openjdk-17-jre-headless procps python3 python3-venv tini
groupadd --system --gid 10998 firesteel
useradd --system --uid 10998 --gid 10998 --home-dir /var/lib/firesteel --shell /usr/sbin/nologin firesteel
install -d -o firesteel -g firesteel -m 0700 /var/lib/firesteel
# For the files of worker processes, where the image runs one.
install -d -o firesteel -g firesteel -m 0700 /var/lib/spark
# For a volume with the users' file: a volume that is new has the owner of what it is mounted on.
install -d -o firesteel -g firesteel -m 0700 /users

python3 -m venv /opt/python
if [ "${SPARK:-none}" != none ]; then
    /opt/python/bin/pip install --no-cache-dir -r "$(dirname "$0")/requirements/spark-$SPARK.txt"
    ln -s "$(/opt/python/bin/python -c 'import pyspark; print(pyspark.__path__[0])')" /opt/spark
fi
# Words of their own, as pip takes them.
# shellcheck disable=SC2086
[ -z "${PACKAGES:-}" ] || /opt/python/bin/pip install --no-cache-dir $PACKAGES
find /opt/python -name __pycache__ -prune -exec rm -rf {} +
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/dpkg.log /var/log/apt
