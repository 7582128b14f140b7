#!/bin/sh
# What the workflows need of their namespace; may run again. The server: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE.
set -eu

# The image is its history: closed runs are kept for ten years.
retention=3650d

# A server takes some seconds to know a new namespace everywhere.
eventually() {
    tries=30
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || exit 1
        sleep 2
    done
}

temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$retention"
eventually temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$retention"
eventually temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" \
    --name NeedsHuman --type Bool \
    --name ImagePhase --type Keyword \
    --name SettingsRevision --type Int
