#!/bin/sh
# Makes the secrets that compose.yaml mounts, once: `deploy/secrets.sh [FOLDER]`. What is there is kept.
#
# The folder is closed to others; the files in it are readable, because the users inside the containers are not yours.
set -eu

folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"

draw() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

keep() { # NAME TEXT
    if [ ! -e "$folder/$1" ]; then
        printf '%s\n' "$2" > "$folder/$1"
        chmod 0644 "$folder/$1"
    fi
}

keep postgres-password "$(draw)"
keep redis-password "$(draw)"
keep database-url "postgresql+psycopg://skim:$(cat "$folder/postgres-password")@postgres:5432/skim"
keep redis-url "redis://:$(cat "$folder/redis-password")@redis:6379/0"
keep redis.conf "requirepass $(cat "$folder/redis-password")
appendonly yes
save \"\"
maxmemory-policy noeviction"
keep flower-auth "skim:$(draw)"
keep grafana-password "$(draw)"
keep metrics-key "none yet: see deploy/README.md"
