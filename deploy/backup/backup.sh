#!/usr/bin/env bash
# Dump both databases now and every BACKUP_EVERY_SECONDS, and keep the last BACKUPS_KEPT of each;
# with the argument `once`, dump them only now.
#
# The blog's first: a copy that is behind its source repairs itself, and one that is ahead does not.
set -euo pipefail
PGPASSWORD=$(</run/secrets/postgres-superuser)
export PGPASSWORD

back_up() {
    local database file
    for database in blog auth; do
        file=/backups/$database-$(date -u +%Y%m%dT%H%M%SZ).dump
        pg_dump --format=custom --file="$file.part" "$database"
        mv "$file.part" "$file"
        echo "$file: $(stat --format=%s "$file") bytes"
        # Their names sort by time.
        find /backups -name "$database-*.dump" | sort | head -n "-$BACKUPS_KEPT" | xargs -r rm --
    done
}

back_up
[ "${1:-}" != once ] || exit 0
trap exit TERM
while true; do
    sleep "$BACKUP_EVERY_SECONDS" &
    wait $!
    back_up
done
