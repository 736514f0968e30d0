#!/usr/bin/env bash
# Dump both databases whenever their last backups are BACKUP_EVERY_SECONDS old, and keep the last
# BACKUPS_KEPT of each; with the argument `once`, dump them now, and end.
#
# The blog's first: a copy that is behind its source repairs itself, and one that is ahead does not.
# A restart makes no backup that is not due, so it costs none of those that are kept.
set -euo pipefail
for number in "$BACKUP_EVERY_SECONDS" "$BACKUPS_KEPT"; do
    if [[ ! $number =~ ^[1-9][0-9]*$ ]]; then
        echo "BACKUP_EVERY_SECONDS and BACKUPS_KEPT must be numbers from 1 on, not $number" >&2
        exit 1
    fi
done
# A dump that failed is tried again after this time. Not sooner: it may have read most of a database.
LOOK_EVERY_SECONDS=$((BACKUP_EVERY_SECONDS < 300 ? BACKUP_EVERY_SECONDS : 300))
PGPASSWORD=$(</run/secrets/postgres-superuser)
export PGPASSWORD

is_due() {
    local young
    young=$(find /backups -name "$1-*.dump" -newermt "-$BACKUP_EVERY_SECONDS seconds") || exit
    [ -z "$young" ]
}

# Dump those databases that are `due`, or both `now`.
back_up() {
    local database file
    # `once` runs in a container of its own, and the same volume.
    exec 9>/backups/.lock
    flock 9
    rm -f /backups/*.part # of a dump that failed or was killed
    for database in blog auth; do
        [ "$1" = now ] || is_due "$database" || continue
        file=/backups/$database-$(date -u +%Y%m%dT%H%M%SZ).dump
        pg_dump --format=custom --file="$file.part" "$database"
        # Reads all of it: a backup that cannot be restored is none.
        pg_restore --file=/dev/null "$file.part"
        mv "$file.part" "$file"
        echo "$file: $(stat --format=%s "$file") bytes"
    done
    # Only here, where both have a new one. Their names sort by time.
    for database in blog auth; do
        find /backups -name "$database-*.dump" | sort | head -n "-$BACKUPS_KEPT" | xargs -r rm --
    done
}

if [ "${1:-}" = once ]; then
    back_up now
    exit
fi
trap exit TERM
while true; do
    # In the background: a stop does not wait for it, and `set -e` holds inside, unlike in `f || …`.
    back_up due &
    wait $! || echo "a backup failed; the next try is in $LOOK_EVERY_SECONDS seconds" >&2
    sleep "$LOOK_EVERY_SECONDS" &
    wait $!
done
