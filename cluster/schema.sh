#!/bin/sh
# The databases of a Temporal server, made or brought up to the version of this image; may run again.
set -eu

schema=/etc/temporal/schema/postgresql/v12

prepare() {
    database=$1
    versions=$2
    set -- temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_SEEDS" -p 5432 -u "$POSTGRES_USER" --db "$database"
    "$@" create
    "$@" setup-schema -v 0.0
    "$@" update-schema -d "$versions"
}

prepare temporal "$schema/temporal/versioned"
prepare temporal_visibility "$schema/visibility/versioned"
