#!/bin/sh
# Looking at a real Linux guest: what its agent tells, and the counters that change when it writes and sends, beside what
# it says itself; while an operation is at work, and when the agent is stopped dead.
# limit: 400
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd

cat >"$TMPDIR/tiny.yaml" <<-END
	name: tiny
	memory: 256M
	max_memory: 512M
	vcpus: 1
	max_vcpus: 2
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	disks:
	  - size: 64M
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22"]}
	    mac: 52:54:00:00:00:01
	cloud_init: {user: root}
END
roost run -q "$TMPDIR/tiny.yaml" --timeout 300s
wait_until 60 roost domifaddr tiny --source agent
guest() {
	roost ssh root@tiny "$@" </dev/null
}
id=$(roost domid tiny)
uuid=$(roost domuuid tiny)

say "by Id and UUID: ssh, scp, wait, agent, dommemstat"
echo "a line" >"$TMPDIR/file"
for word in "$id" "$uuid"; do
	check_eq "ssh user@$word" root "$(roost ssh "root@$word" id -un </dev/null)"
	check_eq "ssh $word" "$(guest uname -r)" "$(roost ssh "$word" uname -r </dev/null)"
	roost scp "$TMPDIR/file" "$word:/tmp/to"
	roost scp "root@$word:/tmp/to" "$TMPDIR/back"
	cmp "$TMPDIR/file" "$TMPDIR/back"
	check_match "wait" "Guest 'tiny' has reached 'login'" "$(roost wait -q "$word" --for login)"
	check_json "agent" . "$(roost agent "$word" '{"execute":"guest-get-host-name"}' | sed 's/^[^{]*$/{}/')"
	check_match "dommemstat" '^actual 262144$' "$(roost dommemstat "$word")"
done

# --- addresses --------------------------------------------------------------------------------------------------------
say "domifaddr: what the guest has"
told=$(roost domifaddr tiny --source agent)
address=$(guest ip -4 -o addr show dev eth0 | sed -n 's/.* inet \([0-9.]*\/[0-9]*\) .*/\1/p')
check_match "its address" "^ eth0       52:54:00:00:00:01    ipv4         $address\$" "$told"
check_match "its loopback" '^ lo         00:00:00:00:00:00    ipv4         127.0.0.1/8$' "$told"
check_match "the second of an interface" '^ -          -                    ipv6         ::1/128$' "$told"
check_match "--full" '^ lo         00:00:00:00:00:00    ipv6         ::1/128$' "$(roost domifaddr tiny --source agent --full)"
json=$(roost domifaddr tiny --source agent --json)
check_json "as JSON" "map(select(.interface == \"eth0\" and .protocol == \"ipv4\")) |
	. == [{interface: \"eth0\", mac: \"52:54:00:00:00:01\", source: \"agent\", protocol: \"ipv4\", address: \"${address%/*}\", prefix: ${address#*/}}]" "$json"
# another of IPv6 may just be coming
all_told() {
	[ "$(guest ip -o addr show | wc -l)" -eq "$(roost domifaddr tiny --source agent --json | jq length)" ]
}
wait_until 10 all_told
check_eq "--interface" eth0 "$(roost domifaddr tiny --source agent --interface eth0 --json | jq -r '.[].interface' | sort -u)"
check_eq "by the MAC" eth0 "$(roost domifaddr tiny --source agent --interface 52:54:00:00:00:01 --json | jq -r '.[].interface' | sort -u)"
check_eq "one that does not exist" '[]' "$(roost domifaddr tiny --source agent --interface eth7 --json)"
guest ip addr add 192.0.2.7/25 dev eth0
check_match "a new address" '192[.]0[.]2[.]7/25$' "$(roost domifaddr tiny --source agent)"
for _ in 1 2 3 4 5 6 7 8; do
	roost domifaddr tiny --source agent --json >"$TMPDIR/many.$_" &
	echo $! >>"$TMPDIR/askers"
done
while read -r asker; do
	wait "$asker"
done <"$TMPDIR/askers"
check_eq "eight at once" 8 "$(cat "$TMPDIR"/many.* | grep -c '192.0.2.7')"

# --- what went through -------------------------------------------------------------------------------------------------
say "domifstat: as the guest counts"
of_guest() { # of_guest FIELD: of eth0's line in /proc/net/dev
	guest cat /proc/net/dev | tr ':' ' ' | awk -v field="$1" '$1 == "eth0" { print $(field + 1) }'
}
count_of() {
	roost domifstat tiny nic0 --json | jq ".$1"
}
# between two looks of the guest's own, which themselves go through the interface
low=$(of_guest 1)
middle=$(count_of rx_bytes)
high=$(of_guest 1)
{ [ "$low" -le "$middle" ] && [ "$middle" -le "$high" ]; } || fail "rx_bytes: $middle is not within $low and $high"
head -c 300000 /dev/zero >"$TMPDIR/zeros"
roost scp "$TMPDIR/zeros" tiny:/tmp/zeros
after=$(count_of rx_bytes)
[ "$after" -ge $((middle + 300000)) ] || fail "300000 bytes were sent, rx_bytes went from $middle to $after"
check_eq "virsh's lines" "rx_bytes rx_packets rx_errs rx_drop tx_bytes tx_packets tx_errs tx_drop" \
	"$(roost domifstat tiny nic0 | awk '$1 == "nic0" && $3 ~ /^[0-9]+$/ { print $2 }' | xargs)"
check_match "by the MAC" '^nic0 tx_packets [1-9]' "$(roost domifstat tiny 52:54:00:00:00:01)"
told=$(roost domstats tiny --interface)
check_match "domstats --interface asks, too" '^  net.0.rx.bytes=[1-9]' "$told"
check_match "and packets" '^  net.0.tx.pkts=[1-9]' "$told"

say "domblkstat: when the guest writes"
written() {
	roost domblkstat tiny vda --json | jq .wr_bytes
}
before=$(written)
flushes=$(roost domblkstat tiny vda --json | jq .flush_operations)
taken=$(roost domblkinfo tiny vda --json | jq .allocation)
guest 'dd if=/dev/urandom of=/dev/vda bs=1M count=8 conv=fsync 2>/dev/null'
check_eq "just that" $((before + 8 * 1048576)) "$(written)"
[ "$(roost domblkstat tiny vda --json | jq .flush_operations)" -gt "$flushes" ] || fail "fsync was no flush"
check_eq "as the guest counts it, in sectors" "$(guest cat /sys/block/vda/stat | awk '{ print $7 * 512 }')" "$(written)"
[ "$(roost domblkinfo tiny vda --json | jq .allocation)" -ge $((taken + 8 * 1048576)) ] || fail "the file has not grown"
check_eq "domstats" "$(written)" "$(roost domstats tiny --block | sed -n 's/^  block.0.wr.bytes=//p')"
check_eq "what the guest sees" "$(guest cat /sys/block/vda/size | awk '{ print $1 * 512 }')" "$(roost domblkinfo tiny vda --json | jq .capacity)"

say "vcpucount --guest: taken away under TCG, it is plugged all the same"
roost setvcpus tiny 2
has_two() {
	[ "$(roost vcpucount tiny --guest)" -eq 2 ]
}
wait_until 20 has_two # as its kernel brings it online
roost setvcpus tiny 1
check_eq "one is used" "1 1" "$(roost vcpucount tiny --guest) $(roost vcpucount tiny --live)"
check_eq "as the guest says" 1 "$(guest grep -c ^processor /proc/cpuinfo)"
check_json "as JSON" '. == {"vcpus": 1}' "$(roost vcpucount tiny --guest --json)"

say "vcpuinfo, domstats: when the guest computes, and when it has less memory"
time_of() {
	roost vcpuinfo tiny --json | jq "[.[].time] | add"
}
before=$(time_of)
guest 'dd if=/dev/urandom of=/dev/null bs=1M count=4 2>/dev/null'
[ "$(time_of)" -gt "$before" ] || fail "no CPU time was used"
roost setmem tiny 200M
check_match "balloon" '^  balloon.current=204800$' "$(roost domstats tiny --balloon)"
roost setmem tiny 320M
check_match "plugged memory counts" '^  balloon.current=327680$' "$(roost domstats tiny --balloon)"
roost setmem tiny 256M

# --- meanwhile -----------------------------------------------------------------------------------------------------------
say "an operation is at work: the agent is asked all the same"
guest killall acpid
roost shutdown tiny --mode acpi --timeout 120s >"$TMPDIR/shutdown" 2>&1 &
asking=$!
is_busy() {
	roost list --json | jq -e '.[] | select(.name == "tiny") | .busy | startswith("roost-shutdown")'
}
wait_until 10 is_busy
check_match "domifaddr" "$address" "$(roost domifaddr tiny --source agent)"
check_match "domifstat" '^nic0 rx_bytes [1-9]' "$(roost domifstat tiny nic0)"
check_match "domstats" '^  net.0.rx.bytes=[1-9]' "$(roost domstats tiny --interface)"
is_busy >/dev/null || fail "it was no longer at work: $(cat "$TMPDIR/shutdown")"
roost cancel tiny >/dev/null
! wait $asking || fail "the shutdown was not cancelled"

say "the agent is stopped dead: told in time, and nobody else waits"
guest killall -STOP qemu-ga
since=$(now_ms)
roost domifaddr tiny --source agent >"$TMPDIR/late" 2>&1 &
late=$!
roost domifaddr tiny --source agent >/dev/null 2>&1 &
later=$!
wait_until 10 listens_to $late "$(of_status tiny keeper_pid)"
looking=$(now_ms)
roost domblkstat tiny vda >/dev/null
roost vcpuinfo tiny >/dev/null
roost suspend tiny >/dev/null
roost resume tiny >/dev/null
check_time "two looks and two changes" 1500 "$looking"
kill -0 $late 2>/dev/null || [ $(($(now_ms) - since)) -ge 5000 ] || fail "it has been told already: $(cat "$TMPDIR/late")"
status=0
wait $late || status=$?
check_time "in time" 7000 "$since"
check_eq "status" 8 $status
check_match "why" "the agent of guest 'tiny' did not answer in time" "$(cat "$TMPDIR/late")"
wait $later && fail "the second one got an answer"
check_time "each has its own deadline" 8000 "$since"
since=$(now_ms)
told=$(roost domstats tiny)
[ $(($(now_ms) - since)) -le $((1000 * E2E_PATIENCE)) ] || { since=$(now_ms) && told=$(roost domstats tiny); } # others are at work here, too
check_time "domstats does not wait for it" 1000 "$since"
told=$(roost domstats tiny --interface)
check_time "nor for long if it is to ask" 4000 "$since"
check_eq "it tells what it can" "1 " "$(echo "$told" | sed -n 's/^  net.count=//p') $(echo "$told" | sed -n 's/^  net.0.rx.*//p')"
guest killall -CONT qemu-ga
wait_until 30 roost domifaddr tiny --source agent
check_match "its late answers were not taken for others" "$address" "$(roost domifaddr tiny --source agent)"

say "its keeper is killed while somebody asks"
guest killall -STOP qemu-ga
roost domifaddr tiny --source agent >"$TMPDIR/orphan" 2>&1 &
orphan=$!
sleep 0.3
kill_and_wait KILL "$(of_status tiny keeper_pid)"
wait $orphan && fail "the one who asked got an answer"
guest killall -CONT qemu-ga
wait_until 30 roost domifaddr tiny --source agent

say "no agent"
guest 'mv /usr/sbin/qemu-ga /gone; killall qemu-ga' # its init would start it again
gone() {
	roost domifaddr tiny --source agent 2>&1 | grep "no agent runs"
}
wait_until 10 gone
check_status 5 roost domifaddr tiny --source agent
check_match "why" "no agent runs in guest 'tiny'" "$out"
check_status 5 roost domifstat tiny nic0
check_match "what to do" "install qemu-guest-agent" "$out"
check_match "the forward is known all the same" '127.0.0.1:[0-9]+->22$' "$(roost domifaddr tiny)"
