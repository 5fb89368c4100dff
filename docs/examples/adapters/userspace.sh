#!/bin/sh
# An adapter in a few lines of shell: this project's userspace stack, as if somebody else had written it.
# docs/howto/add-an-implementation.md
case $TESTBED_TEST in
    handshake | transfer | two_way | half_close | zero_window | fastclose | checksum | ipv6 | loss | reorder) ;;
    failover | join | add_addr | remove_addr | backup | goodput | contention) ;;
    fallback_syn | fallback_syn_ack | fallback_third_ack | fallback_data | fallback_late) ;;
    fallback_payload | fallback_payload_two) ;;
    *) echo "no such test: $TESTBED_TEST" >&2 && exit 127 ;;
esac
for wish in BACKUP_ADDRESSES WITHDRAW_ADDRESS SACK NODELAY SEND_BUFFER RECEIVE_BUFFER; do
    eval "value=\$TESTBED_$wish"
    [ -z "$value" ] || { echo "the tool has no way to say $wish" >&2 && exit 127; }
done
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
