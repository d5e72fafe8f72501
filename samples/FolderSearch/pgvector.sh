#!/usr/bin/env bash
# Runs a temporary PostgreSQL server with pgvector while a command runs:
#
#     samples/FolderSearch/pgvector.sh FOLDER COMMAND...
#
# STELLA_POSTGRES contains the connection string for the command. The server listens on a free port of 127.0.0.1 with a
# random password, and stops when the command ends for any reason. FOLDER gets a Debian 13 system with both packages
# (700 MB, installed once by debootstrap) and the data, which is empty at each start. Needs root, or sudo without a password.
#
# The command may stop the server, as a crash of its processes would, and start it again with its data and its port:
#
#     samples/FolderSearch/pgvector.sh --stop FOLDER
#     samples/FolderSearch/pgvector.sh --start FOLDER
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,13s/^# \{0,1\}//p' "$0"
  exit 2
fi

action=run
case $1 in
  --stop | --start)
    action=${1#--}
    shift
    ;;
esac

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

if ! as_root true || ! as_root sh -c 'command -v debootstrap' >/dev/null; then
  echo "pgvector.sh: Needs root and debootstrap (apt-get install debootstrap). To use your own server instead, set STELLA_POSTGRES." >&2
  exit 1
fi

mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
exec 9>"$folder/lock" 8>"$folder/server.lock"
root=$folder/debian
bin=/usr/lib/postgresql/17/bin

# Only this script keeps the locks, so that a server that outlives it locks nobody out.
inside() (
  exec 8>&- 9>&-
  as_root chroot --userspec=postgres:postgres "$root" env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 "$@"
)

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 20000))
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

data=/var/lib/postgresql/stella
# A server that is just starting has no pid file yet. The root folder of its processes tells them from others.
processes() { as_root find /proc -mindepth 2 -maxdepth 2 -name root -lname "$root" -printf '%h\n' 2>/dev/null | tr -d /a-z; }
# SIGQUIT is the signal of `pg_ctl stop -m immediate`.
stop() {
  local end=$((SECONDS + 20)) found
  while found=$(processes) || true; [ -n "$found" ]; do
    if [ $SECONDS -ge $end ]; then
      echo "pgvector.sh: The server in $folder did not stop in 20 s. Its processes are" $found. >&2
      return 1
    fi
    as_root kill -QUIT $found 2>/dev/null || true
    sleep 0.1
  done
}
start() {
  inside $bin/pg_ctl start -D $data -w -s -l /var/lib/postgresql/log >>"$folder/server.log" || { inside cat /var/lib/postgresql/log >&2; exit 1; }
}

if [ $action != run ]; then
  # A start that waits here until the run has ended finds no data, and fails.
  flock 8
  if [ $action = stop ] && [ -z "$(processes || true)" ]; then
    echo "pgvector.sh: No server is running in $folder." >&2
    exit 1
  fi
  $action
  exit
fi

if ! flock -n 9; then
  echo "pgvector.sh: Another run has its server in $folder. Wait for its end, or name another folder." >&2
  exit 1
fi

if [ ! -x "$root$bin/initdb" ]; then
  # An incomplete installation is useless.
  as_root rm -rf "$root" "$root.part"
  echo "pgvector.sh: installing $root" >&2
  as_root debootstrap --variant=minbase --include=postgresql-17-pgvector trixie "$root.part" http://deb.debian.org/debian >"$folder/debootstrap.log" \
    || { tail -5 "$folder/debootstrap.log" >&2; exit 1; }
  as_root mv "$root.part" "$root"
fi

clean_up() {
  flock 8
  stop
  inside rm -rf $data
}
trap clean_up EXIT

# An earlier run may have been killed.
clean_up
inside rm -f /var/lib/postgresql/log
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
port=$(free_port)
inside sh -c 'umask 077; cat >/var/lib/postgresql/password' <<<"$password"
inside $bin/initdb -D $data -U stella -A scram-sha-256 --pwfile=/var/lib/postgresql/password -E UTF8 --no-sync >"$folder/server.log"
# The folder has no /dev/shm. Only the port is used, so sockets are off. The data need not survive a crash of the machine, so fsync is off.
inside tee -a $data/postgresql.conf >/dev/null <<EOF
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
dynamic_shared_memory_type = mmap
fsync = off
EOF
start
flock -u 8

STELLA_POSTGRES="Host=127.0.0.1;Port=$port;Username=stella;Password=$password;Database=postgres" "$@" 8>&- 9>&-
