#!/bin/sh
# Write a random password for every missing secret into secrets/, which git ignores. Existing secrets are kept.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in aws_access_key_id aws_secret_access_key mlflow_auth_admin_password mlflow_flask_server_secret_key \
    pgpassword ray_auth_token; do
    [ -s "secrets/$name" ] || od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
done
