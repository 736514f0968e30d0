#!/usr/bin/env bash
# Start a standby; the first time, copy the primary before.
#
# A slot makes the primary keep the log that the standby has not read yet.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    PGPASSWORD=$(</run/secrets/postgres-replication)
    export PGPASSWORD
    slot=(--slot=standby)
    # Ask for a new slot only if no earlier try made it.
    psql --no-psqlrc --tuples-only --no-align --command='READ_REPLICATION_SLOT standby' \
        'host=postgres user=replication replication=true' | grep -q physical || slot+=(--create-slot)
    rm -rf "${PGDATA:?}"/*
    chmod 700 "$PGDATA"
    pg_basebackup --host=postgres --username=replication --pgdata="$PGDATA" --wal-method=stream \
        --write-recovery-conf --checkpoint=fast "${slot[@]}"
    unset PGPASSWORD
fi
exec postgres -c config_file=/etc/postgresql/postgresql.conf
