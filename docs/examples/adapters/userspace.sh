#!/bin/sh
# An adapter in a few lines of shell: this project's userspace stack, as if somebody else had written it.
# docs/howto/add-an-implementation.md
case $TESTBED_TEST in
    handshake | transfer | two_way | half_close | zero_window | fastclose | checksum | fallback | ipv6 | loss | reorder) ;;
    failover | join | add_addr | goodput | contention) ;;
    *) echo "no such test: $TESTBED_TEST" >&2 && exit 127 ;;
esac
[ -z "$TESTBED_BACKUP_ADDRESSES$TESTBED_SACK" ] || { echo "no backup addresses, and SACK is always on" >&2 && exit 127; }
set -- --status-fd 3 --path-manager "$TESTBED_PATH_MANAGER" --quiet "-$TESTBED_FAMILY"
[ -z "$TESTBED_CONGESTION_CONTROL" ] || set -- "$@" --cc "$TESTBED_CONGESTION_CONTROL"
[ -z "$TESTBED_SCHEDULER" ] || set -- "$@" --scheduler "$TESTBED_SCHEDULER"
[ "$TESTBED_CHECKSUM" != 1 ] || set -- "$@" --checksum
[ "$TESTBED_TIMESTAMPS" != 0 ] || set -- "$@" --no-timestamps
testbed=$(dirname "$0")/../../../tb
if [ "$TESTBED_ROLE" = server ]; then
    exec "$testbed" endpoint listen "$TESTBED_PORT" "$@"
fi
exec "$testbed" endpoint connect "$TESTBED_REMOTE_ADDRESS" "$TESTBED_PORT" --local "$TESTBED_LOCAL_ADDRESS" \
    --control-fd 4 "$@"
