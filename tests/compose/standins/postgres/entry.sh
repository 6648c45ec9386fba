#!/bin/sh
# First start: a database cluster with POSTGRES_USER and POSTGRES_DB. Every start: the server, as the process that gets
# the container's signals.
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username "$POSTGRES_USER" --auth-local trust --auth-host scram-sha-256 --pwfile "$POSTGRES_PASSWORD_FILE"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl --options "-c listen_addresses=" --wait start
    createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --mode fast --wait stop
fi
exec postgres -c "listen_addresses=*"
