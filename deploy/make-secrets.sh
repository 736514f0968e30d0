#!/bin/sh
# Make a random password for each file of deploy/first-try-secrets, whose own are public.
#
#   deploy/make-secrets.sh /etc/usersync/secrets
#
# Then set SECRETS_FOLDER=/etc/usersync/secrets in `.env`. A file that exists stays as it is.
set -eu
folder=${1:?name a folder: deploy/make-secrets.sh /etc/usersync/secrets}
# The folder keeps other users of this machine out. The files can be read by all, because the
# processes in the containers run as users of their own.
(umask 077 && mkdir -p "$folder")
chmod 700 "$folder" # one that was there before, too
for example in "$(dirname "$0")"/first-try-secrets/*; do
    file=$folder/$(basename "$example")
    [ -e "$file" ] && continue
    # 32 of 62 characters are 190 bits.
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 32 >"$file.part"
    chmod 444 "$file.part"
    mv "$file.part" "$file"
done
