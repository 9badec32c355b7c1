#!/bin/sh
# Run a command with an environment variable for every file in $SECRETS (default /run/secrets): the file pgpassword
# becomes PGPASSWORD. This keeps passwords out of the repository and off command lines.
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
