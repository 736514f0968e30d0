#!/usr/bin/env bash
# Start a node of the cluster; nodes with the same cookie trust each other.
set -euo pipefail
umask 077
cookie=/var/lib/rabbitmq/.erlang.cookie
rm -f "$cookie"
cp /run/secrets/rabbitmq-cookie "$cookie"
chmod 400 "$cookie"
exec rabbitmq-server
