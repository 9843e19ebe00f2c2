#!/bin/sh
# pod.sh HOSTS MOUNTS COMMAND...: the first process of a container, in namespaces of its own. Puts what the pod mounts where it says, then is the command.
# MOUNTS has a line for each: what is mounted, a blank, where.
set -eu
hosts=$1 mounts=$2
shift 2
mount --make-rprivate /
mount --bind "$hosts" /etc/hosts
# A directory that is not there is made on a file system of the pod's own, which has all else of its place.
covered=
cover() {
    case " $covered " in *" $1 "*) return ;; esac
    covered="$covered $1"
    kept=$(mktemp -d)
    mount --rbind "$1" "$kept"
    mount -t tmpfs pod "$1"
    for entry in "$kept"/* "$kept"/.[!.]*; do
        name=${entry##*/}
        if [ -L "$entry" ]; then
            ln -s "$(readlink "$entry")" "$1/$name"
        elif [ -d "$entry" ]; then
            mkdir -p "$1/$name"
            mount --rbind "$entry" "$1/$name"
        elif [ -f "$entry" ]; then
            : >"$1/$name"
            mount --bind "$entry" "$1/$name"
        fi
    done
    umount -l "$kept"
    rmdir "$kept"
}
while read -r source target; do
    place=$(readlink -m "$target")
    if [ ! -e "$place" ]; then
        rest=${place#/}
        cover "/${rest%%/*}"
    fi
    if [ -d "$source" ]; then
        mkdir -p "$place"
    else
        mkdir -p "${place%/*}"
        [ -e "$place" ] || : >"$place"
    fi
    mount --bind "$source" "$place"
done <"$mounts"
exec "$@"
