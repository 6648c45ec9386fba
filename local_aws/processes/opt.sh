#!/bin/sh
# Runs a command with an /opt of its own, in mounts that only it sees: nothing of this machine's /opt is changed.
#
#     unshare --user --map-root-user --mount sh opt.sh SCRATCH FOLDER ENTRY ... -- COMMAND [ARGUMENT ...]
#
# SCRATCH is an empty folder, made where it is missing; FOLDER the one that the command starts in. An ENTRY is NAME=PATH,
# for what is to be /opt/NAME, or - for all of this machine's /opt; of two with the same name the first is there.
set -e
old=$1
folder=$2
shift 2
mkdir -p "$old"
mount --rbind /opt "$old"
mount -t tmpfs tmpfs /opt

put() {
    if [ -e "/opt/$1" ] || [ -L "/opt/$1" ]; then
        return
    elif [ -L "$2" ]; then
        cp -P "$2" "/opt/$1"
    elif [ -d "$2" ]; then
        mkdir "/opt/$1"
        mount --rbind "$2" "/opt/$1"
    elif [ -e "$2" ]; then
        : >"/opt/$1"
        mount --bind "$2" "/opt/$1"
    fi
}

while [ "$1" != -- ]; do
    if [ "$1" = - ]; then
        for each in "$old"/* "$old"/.[!.]*; do
            put "${each##*/}" "$each"
        done
    else
        put "${1%%=*}" "${1#*=}"
    fi
    shift
done
shift
cd "$folder"
exec "$@"
