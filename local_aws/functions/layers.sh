#!/bin/sh
# Runs a command that sees what is in a folder under /opt, where Lambda has a function's layers.
#
#     unshare --user --map-root-user --mount sh layers.sh FOLDER COMMAND [ARGUMENT ...]
#
# In the mounts of this command alone: what is in this machine's /opt stays, and goes before what has the same name.
set -e
layers=$1
shift
here=$PWD
old=$(mktemp -d)
mount --rbind /opt "$old"
mount -t tmpfs tmpfs /opt
for each in "$old"/* "$old"/.[!.]* "$layers"/* "$layers"/.[!.]*; do
    name=/opt/${each##*/}
    if [ -e "$name" ] || [ -L "$name" ]; then
        continue
    elif [ -L "$each" ]; then
        cp -P "$each" "$name"
    elif [ -d "$each" ]; then
        mkdir "$name"
        mount --rbind "$each" "$name"
    elif [ -e "$each" ]; then
        : >"$name"
        mount --bind "$each" "$name"
    fi
done
cd "$here"
exec "$@"
