#!/bin/sh
# An adapter in a few lines of shell: this project's userspace stack, as if somebody else had written it.
# docs/howto/add-an-implementation.md
case $TESTBED_TEST in
    handshake | transfer | two_way | half_close | fastclose | checksum | ipv6 | loss | reorder | failover) ;;
    join | add_addr | goodput | contention | fallback_syn | fallback_syn_ack | fallback_third_ack | fallback_data) ;;
    fallback_late | fallback_payload | fallback_payload_two) ;;
    *) echo "no such test: $TESTBED_TEST" >&2 && exit 127 ;;
esac
if [ -n "$TESTBED_BACKUP_ADDRESSES$TESTBED_SACK$TESTBED_NODELAY$TESTBED_SEND_BUFFER$TESTBED_RECEIVE_BUFFER" ]; then
    echo "backup addresses, SACK, nodelay and buffers cannot be chosen" >&2 && exit 127
fi
set -- --status-fd 3 --path-manager "$TESTBED_PATH_MANAGER" --quiet "-$TESTBED_FAMILY"
[ -z "$TESTBED_CONGESTION_CONTROL" ] || set -- "$@" --cc "$TESTBED_CONGESTION_CONTROL"
[ -z "$TESTBED_SCHEDULER" ] || set -- "$@" --scheduler "$TESTBED_SCHEDULER"
[ "$TESTBED_CHECKSUM" != 1 ] || set -- "$@" --checksum
[ "$TESTBED_TIMESTAMPS" != 0 ] || set -- "$@" --no-timestamps
tb=$(dirname "$0")/../../../tb
if [ "$TESTBED_ROLE" = server ]; then
    exec "$tb" endpoint listen "$TESTBED_PORT" "$@"
fi
exec "$tb" endpoint connect "$TESTBED_REMOTE_ADDRESS" "$TESTBED_PORT" --local "$TESTBED_LOCAL_ADDRESS" --control-fd 4 "$@"
