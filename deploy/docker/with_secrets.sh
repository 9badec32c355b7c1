#!/bin/sh
# Runs a command with every file in $SECRETS, or /run/secrets, as the environment variable of its name in capitals:
# what pgpassword holds is PGPASSWORD. A password then stands in no file of the repository and on no command line.
set -eu
for file in "${SECRETS:-/run/secrets}"/*; do
    [ -f "$file" ] || continue
    name=$(basename "$file" | tr '[:lower:]' '[:upper:]')
    value=$(cat "$file")
    if [ -z "$value" ]; then
        echo "The secret $file is empty. Write it, or remove the file." >&2
        exit 2
    fi
    export "$name=$value"
done
exec "$@"
