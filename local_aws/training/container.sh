#!/bin/sh
# Runs a command with a training instance's folder as /opt/ml, where programs in AWS's containers look for it.
#
#     unshare --user --map-root-user --mount sh container.sh BASE COMMAND [ARGUMENT ...]
#
# /opt/ml need not be there, and nothing of this machine's /opt is changed: in the mounts of this command alone, /opt is
# an empty folder with all that was in it, and ml beside it.
set -e
base=$1
shift
old=$(mktemp -d "$base.opt.XXXXXX")
mount --rbind /opt "$old"
mount -t tmpfs tmpfs /opt
for each in "$old"/* "$old"/.[!.]*; do
    name=/opt/${each##*/}
    if [ "$name" = /opt/ml ]; then
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
mkdir /opt/ml
mount --bind "$base" /opt/ml
cd /opt/ml/code
exec "$@"
