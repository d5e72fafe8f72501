#!/usr/bin/env bash
# A PostgreSQL server with pgvector of your own, for as long as a command runs:
#
#     samples/FolderSearch/pgvector.sh FOLDER COMMAND...
#
# The command finds the connection string in STELLA_POSTGRES. The server listens on a free port of 127.0.0.1, with a
# password of its own, and is stopped in the end, however the command ends. FOLDER gets Debian 13 with its packages of both
# (700 MB, made by debootstrap once) and the data, which begin empty each time. Needs root, or sudo that does not ask.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0"
  exit 2
fi

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

if ! as_root true || ! as_root sh -c 'command -v debootstrap' >/dev/null; then
  echo "pgvector.sh: needs root and debootstrap (apt-get install debootstrap). With a server of yours, set STELLA_POSTGRES and go without." >&2
  exit 1
fi

mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
root=$folder/debian
bin=/usr/lib/postgresql/17/bin

if [ ! -x "$root$bin/initdb" ]; then
  # What was begun and not ended is of no use.
  as_root rm -rf "$root"
  echo "pgvector.sh: making $root" >&2
  as_root debootstrap --variant=minbase --include=postgresql-17-pgvector trixie "$root" http://deb.debian.org/debian >"$folder/debootstrap.log" \
    || { tail -5 "$folder/debootstrap.log" >&2; exit 1; }
fi

inside() { as_root chroot --userspec=postgres:postgres "$root" env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 "$@"; }

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 20000))
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

data=/var/lib/postgresql/stella
stop() { inside $bin/pg_ctl stop -D $data -m immediate -s 2>/dev/null || true; }
trap stop EXIT

# What an earlier run left, if it was killed.
stop
inside rm -rf $data
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
port=$(free_port)
inside sh -c 'umask 077; cat >/var/lib/postgresql/password' <<<"$password"
inside $bin/initdb -D $data -U stella -A scram-sha-256 --pwfile=/var/lib/postgresql/password -E UTF8 --no-sync >"$folder/server.log"
# Without /dev/shm, which a folder does not have; without sockets beside the port; nothing here outlives a crash.
inside $bin/pg_ctl start -D $data -w -s -l /var/lib/postgresql/log -o "-p $port -c listen_addresses=127.0.0.1 \
  -c unix_socket_directories= -c dynamic_shared_memory_type=mmap -c fsync=off" >>"$folder/server.log" \
  || { inside cat /var/lib/postgresql/log >&2; exit 1; }

STELLA_POSTGRES="Host=127.0.0.1;Port=$port;Username=stella;Password=$password;Database=postgres" "$@"
