#!/usr/bin/env bash
# Start a node of the cluster; nodes with the same cookie trust each other.
set -euo pipefail
umask 077
cookie=/var/lib/rabbitmq/.erlang.cookie
rm -f "$cookie"
cp /run/secrets/rabbitmq-cookie "$cookie"
chmod 400 "$cookie"
# A node that is gone may not answer at all. What asks it about a queue whose leader it had waits for
# this many seconds (7 by default), although another leader was elected at once.
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel net_setuptime 1"
exec rabbitmq-server
