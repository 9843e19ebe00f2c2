#!/bin/sh
# need.sh TOOL...: says in one sentence what is missing, and how to get it.
set -eu

missing() {
    echo "$1" >&2
    exit 1
}

for tool in "$@"; do
    case "$tool" in
    java)
        java=java
        [ -z "${JAVA_HOME:-}" ] || java="$JAVA_HOME/bin/java"
        version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || version=
        [ -n "$version" ] ||
            missing "Java is missing: install Java 17 (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME."
        [ "$version" -ge 17 ] ||
            missing "Java $version is too old for Spark 4: install Java 17 (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME."
        ;;
    python)
        "$(dirname "$0")/python.sh" -c 'import ensurepip, venv' 2>/dev/null ||
            missing "Python 3.11 or 3.12 with venv is missing: install it (Debian: apt-get install python3-venv) or set PYTHON to it."
        ;;
    cc)
        command -v cc >/dev/null ||
            missing "A C compiler is missing: install one (Debian: apt-get install build-essential)."
        ;;
    cargo)
        command -v cargo >/dev/null ||
            missing "Rust is missing: install Rust 1.95 or newer with rustup (https://rustup.rs)."
        ;;
    perf)
        command -v perf >/dev/null ||
            missing "perf is missing: install it (Debian: apt-get install linux-perf)."
        ;;
    maven)
        command -v mvn >/dev/null ||
            missing "Maven is missing: run 'make deps' first, or install it (Debian: apt-get install maven)."
        ;;
    r)
        command -v R >/dev/null ||
            missing "R is missing: run 'make deps' first, or install it (Debian: apt-get install r-base-core)."
        ;;
    slapd)
        if ! PATH="$PATH:/usr/sbin" command -v slapd >/dev/null || ! command -v ldapmodify >/dev/null; then
            missing "OpenLDAP is missing: run 'make deps' first, or install it (Debian: apt-get install slapd ldap-utils)."
        fi
        ;;
    kdc)
        if ! PATH="$PATH:/usr/sbin" command -v krb5kdc >/dev/null || ! command -v kinit >/dev/null; then
            missing "The Kerberos KDC is missing: run 'make deps' first, or install it (Debian: apt-get install krb5-kdc krb5-admin-server krb5-user)."
        fi
        ;;
    packages)
        for package in docker-compose shellcheck systemd-analyze; do
            command -v "$package" >/dev/null ||
                missing "$package is missing: run 'make deps' first, or install it (Debian: apt-get install ${package%-analyze})."
        done
        ;;
    dockerd)
        PATH="$PATH:/usr/sbin" command -v dockerd >/dev/null ||
            missing "Docker is missing: run 'make deps-images' first, or install it (Debian: apt-get install docker.io)."
        ;;
    cloud-init | debootstrap)
        PATH="$PATH:/usr/sbin" command -v "$tool" >/dev/null ||
            missing "$tool is missing: run 'make deps-images' first, or install it (Debian: apt-get install $tool)."
        ;;
    npm)
        command -v npm >/dev/null ||
            missing "npm is missing: run 'make deps' first, or install it (Debian: apt-get install npm)."
        ;;
    promtool)
        command -v promtool >/dev/null ||
            missing "promtool is missing: run 'make deps' first, or install it (Debian: apt-get install prometheus)."
        ;;
    go)
        command -v go >/dev/null ||
            missing "Go is missing: install Go 1.26 or newer (https://go.dev/dl)."
        ;;
    *)
        missing "need.sh does not know '$tool'."
        ;;
    esac
done
