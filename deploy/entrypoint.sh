#!/bin/sh
# Reads secrets from files: where NAME_FILE is set, NAME becomes what the file says. So none is in an image, an argument
# or a Compose file.
set -eu

for name in SKIM_DATABASE_URL SKIM_REDIS_URL FLOWER_BASIC_AUTH; do
    eval "file=\${${name}_FILE:-}"
    if [ -n "$file" ]; then
        value=$(cat "$file")
        export "$name=$value"
        unset "${name}_FILE"
    fi
done

exec "$@"
