#!/bin/sh
# Runs a command in a Debian folder, which shows folders of this machine under their own paths:
#
#     in-debian.sh DEBIAN FOLDERS COMMAND...
#
# FOLDERS are separated by colons. The command starts in the current folder, which must be in one of them. The mounts belong to
# this command alone and end with it. Needs root.
exec unshare --mount --propagation private sh -euc '
  root=$1 folders=$2
  shift 2
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  IFS=:
  for folder in $folders; do
    mkdir -p "$root$folder"
    mount --rbind "$folder" "$root$folder"
  done
  exec chroot "$root" /usr/bin/env --chdir="$PWD" -- "$@"
' in-debian "$@"
