#!/usr/bin/env bash
# Restore a database from its last backup, or from the file that is named:
#
#   docker compose run --rm backup bash /restore.sh auth [/backups/auth-20300101T000000Z.dump]
#
# Stop its processes before. docs/failover.md says what to do afterwards.
set -euo pipefail
database=${1:?name a database: auth or blog}
file=${2:-$(find /backups -name "$database-*.dump" | sort | tail -n 1)}
PGPASSWORD=$(</run/secrets/postgres-superuser)
export PGPASSWORD
sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname=postgres --command="$1"; }

# A file that cannot be read to its end must not cost the database that is there.
pg_restore --file=/dev/null "$file"
if [ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE datname = '$database'")" != 0 ]; then
    echo "processes use the database $database; stop them: docker compose stop $database-api …" >&2
    exit 1
fi
sql "DROP DATABASE IF EXISTS $database"
# With the rights to the database itself, which only those have who need it.
pg_restore --create --exit-on-error --dbname=postgres "$file"
echo "restored $file"
