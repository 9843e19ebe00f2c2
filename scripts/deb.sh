#!/bin/sh
# deb.sh [BINARY [DIRECTORY]]: makes DIRECTORY/firesteel_VERSION_ARCHITECTURE.deb of a binary that is built, target/release/firesteel unless
# another is named, in target/ unless another is named. Says where the package is. COMPRESSION is dpkg-deb's -Z.
# docker/debian has what the package brings of its own, docker/systemd the units.
set -eu
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/release/firesteel}")
mkdir -p "${2:-target}"
to=$(realpath "${2:-target}")
[ -x "$binary" ] || {
    echo "$binary is missing: run 'cargo build --release --locked' first." >&2
    exit 1
}
version=$("$binary" --version | cut -d ' ' -f 2)
architecture=$(dpkg --print-architecture)
# The newest symbol version that the binary asks of the C library.
libc=$(grep -ao 'GLIBC_2\.[0-9]*' "$binary" | sort -Vu | tail -n 1 | cut -d _ -f 2)
# The same commit makes the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
chmod 755 "$root"

install -D -m 755 "$binary" "$root/usr/bin/firesteel"
install -D -m 644 docker/debian/firesteel.toml "$root/etc/firesteel/firesteel.toml"
for unit in firesteel.service firesteel.socket; do
    mkdir -p "$root/lib/systemd/system"
    sed 's#/usr/local/bin/firesteel#/usr/bin/firesteel#' "docker/systemd/$unit" >"$root/lib/systemd/system/$unit"
done

"$binary" man "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*
completion() {
    mkdir -p "$root/$2"
    "$binary" completions "$1" >"$root/$2/$3"
}
completion bash usr/share/bash-completion/completions firesteel
completion zsh usr/share/zsh/vendor-completions _firesteel
completion fish usr/share/fish/vendor_completions.d firesteel.fish

doc=$root/usr/share/doc/firesteel
install -D -m 644 docker/debian/copyright "$doc/copyright"
install -m 644 docs/configuration.md docs/command-line.md docker/systemd/README.md "$doc"
printf 'firesteel (%s) stable; urgency=medium\n\n  * Release %s.\n\n -- Firesteel <firesteel@localhost>  %s\n' \
    "$version" "$version" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"

mkdir "$root/DEBIAN"
install -m 755 docker/debian/postinst docker/debian/prerm docker/debian/postrm "$root/DEBIAN"
echo /etc/firesteel/firesteel.toml >"$root/DEBIAN/conffiles"
(cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
cat >"$root/DEBIAN/control" <<CONTROL
Package: firesteel
Version: $version
Architecture: $architecture
Maintainer: Firesteel <firesteel@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f 1)
Depends: adduser, libc6 (>= $libc), libgcc-s1
Recommends: openjdk-17-jre-headless | java17-runtime-headless, python3
Suggests: libgssapi-krb5-2, krb5-user
Section: net
Priority: optional
Description: server for Spark sessions with the Livy REST API
 Firesteel runs Spark sessions and batches for thin, remote notebooks. It starts
 each session's driver with spark-submit, sends it the notebook's code, and keeps
 the results; sessions go on when it is restarted or upgraded.
 .
 The same binary is the client: it submits batches, runs code in sessions, and
 lists and ends what runs. Spark itself is not part of this package.
CONTROL

package=$to/firesteel_${version}_${architecture}.deb
dpkg-deb --root-owner-group -Z"${COMPRESSION:-xz}" --build "$root" "$package" >&2
echo "$package"
