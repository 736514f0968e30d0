#!/usr/bin/env bash
# Run accounts.sql as the superuser, whose password is a file.
set -euo pipefail
PGPASSWORD=$(</run/secrets/postgres-superuser)
export PGPASSWORD
exec psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --file=/accounts.sql
