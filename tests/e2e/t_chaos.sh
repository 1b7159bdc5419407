#!/bin/sh
# limit: 600
# The keeper dies at every failpoint that the source has, then roostd at those of the operations that change a guest's
# life and devices, and both at any moment: afterwards each operation is wholly done or wholly undone, the guest has not
# noticed, nothing is left over, and the next try works.
. "$TOP/tests/e2e/lib.sh"

failing=$TOP/build/fail/bin
[ -x "$failing/roost" ] || lacking "build/fail (make BUILD=build/fail EXTRA_CFLAGS=-DROOST_FAILPOINTS)"
[ -d "$TOP/orchestrator" ] || skip "the sources are not here, which name the failpoints"
PATH=$failing:$PATH
command -v qemu-img >/dev/null || lacking qemu-img

points=$(sed -n 's/.*failpoint("\([^"]*\)").*/\1/p' "$TOP"/orchestrator/*.c | sort)
mac=52:54:00:00:00:99

need pico.raw
cp "$GUESTS/pico.raw" "$TMPDIR/g.raw"
qemu-img create -q -f qcow2 "$TMPDIR/second.qcow2" 16M
qemu-img create -q -f qcow2 "$TMPDIR/base.qcow2" 16M
qemu-img create -q -f qcow2 -F qcow2 -b "$TMPDIR/base.qcow2" "$TMPDIR/extra.qcow2" 16M
cat >"$TMPDIR/g.yaml" <<END
name: g
memory: 32M
vcpus: 1
max_vcpus: 4
interfaces: []
cdrom: none
disks:
  - path: $TMPDIR/g.raw
    format: raw
  - path: $TMPDIR/second.qcow2
    format: qcow2
console: [serial, virtio]
END
[ ! -x /usr/bin/swtpm ] || echo 'tpm: true' >>"$TMPDIR/g.yaml"
roost define "$TMPDIR/g.yaml"

cat >"$TMPDIR/tiny.yaml" <<END
name: tiny
memory: 192M
kernel: $GUESTS/tiny-vmlinux
initrd: $GUESTS/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet
interfaces: []
END
sed 's/^name: tiny/name: t/' "$TMPDIR/tiny.yaml" >"$TMPDIR/tiny-backup.yaml"
cat >>"$TMPDIR/tiny-backup.yaml" <<END
disks: [{size: 16M}]
END
agent_runs() {
	roost qmp tiny query-chardev | jq -e 'any(.[]; .label == "agent0" and ."frontend-open")'
}

# arm POINT: whoever comes by it dies
arm() {
	echo "$1" >"$ROOST_RUN/fail"
	chmod 666 "$ROOST_RUN/fail"
}
# It was passed: emptied by a keeper that had dropped, or removed
struck() {
	[ ! -s "$ROOST_RUN/fail" ]
}
# What QEMU holds: file descriptors, nodes, devices, vCPUs
facts() {
	roost qmp g query-fdsets | jq -cS '[.[] | {id: ."fdset-id", names: [.fds[].opaque]}] | sort_by(.id)'
	roost qmp g query-named-block-nodes | jq -cS '[.[] | [."node-name", .image."virtual-size"]] | sort'
	roost qmp g qom-list '{"path":"/machine/peripheral"}' | jq -cS '[.[].name] | sort'
	roost qmp g query-hotpluggable-cpus | jq -cS '[.[] | ."qom-path" // empty] | length'
}
# stopped_keeper: the pid of the one that has stopped at its point
stopped_keeper() {
	for stopped_proc in /proc/[0-9]*; do
		[ "$(cat "$stopped_proc/comm" 2>/dev/null)" = roost-keeper ] &&
			grep -q '^State:[[:space:]]*T' "$stopped_proc/status" &&
			[ "$(readlink "$stopped_proc/ns/net")" = "$(readlink /proc/self/ns/net)" ] &&
			echo "${stopped_proc#/proc/}" && return
	done
	return 1
}
# try POINT OPERATION...: on its first run $victim dies on the way, the next command already finds everything in order
try() {
	point=$1
	shift
	status=0
	case $victim in
	keeper)
		arm "$point"
		out=$("$@" 2>&1) || status=$?
		wait_until 5 struck
		;;
	roostd)
		say "roostd, at $point"
		arm "hold $point"
		"$@" >"$TMPDIR/tried" 2>&1 &
		trying=$!
		wait_until 10 stopped_keeper
		# shellcheck disable=SC2046 # several words are meant
		kill_and_wait KILL $(roostd_pids)
		kill -CONT "$(stopped_keeper)"
		wait $trying || status=$?
		out=$(cat "$TMPDIR/tried")
		;;
	esac
	# the next command, whatever it is, finds a keeper again
	roost list >/dev/null
}
# nothing is told as busy: its keeper says so with its next heartbeat
is_idle() {
	[ -z "$(of_status g busy)" ]
}
# harmed: the guest has seen nothing of it
unharmed() {
	roost suspend g >/dev/null
	roost resume g >/dev/null
	ticks_go_on g
	check_eq "$point: not booted again" "$booted" "$(boots g)"
	check_eq "$point: the same QEMU" "$qemu" "$(of_status g qemu_pid)"
	wait_until 5 is_idle
	[ ! -e "$ROOST_STATE/guests/g/journal" ] || fail "$point: the journal is still there"
}
clean() {
	qemu-img check -q "$TMPDIR/second.qcow2" && qemu-img check -q "$TMPDIR/extra.qcow2"
}
no_run_file() {
	[ -z "$(find "$ROOST_RUN/g" -mindepth 2)" ]
}
up() {
	is_state g running || roost start g >/dev/null 2>&1
	wait_until 30 is_up g
	booted=$(boots g)
	qemu=$(of_status g qemu_pid)
}
# down: wholly ended
down() {
	! is_state g running || roost destroy g >/dev/null
	check_match "$point: ended" '^(shut off|crashed)' "$(state g)"
	[ ! -e "$ROOST_STATE/guests/g/journal" ] || fail "$point: the journal is still there"
	# an empty folder waits for the next roostd, if this one was killed
	wait_until 5 no_run_file
	clean || fail "$point: a disk is damaged"
}

# either DONE OPERATION...: after `try`, it is either as before, and works now, or it is done: then DONE must hold
either() {
	done=$1
	shift
	after=$(facts)
	if [ "$after" = "$before" ]; then
		say "$point: undone (status $status)"
		"$done" && fail "$point: undone for QEMU, but roost tells it as done"
		"$@" >/dev/null
	else
		say "$point: done (status $status)"
	fi
	"$done" || fail "$point: neither done nor undone: $after, before: $before"
	unharmed
}

attach() {
	roost attach-disk g "$TMPDIR/extra.qcow2" --format qcow2 --target vdc
}
attached() {
	roost domblklist g | grep -q "vdc.*extra.qcow2" &&
		roost qmp g qom-list '{"path":"/machine/peripheral/disk-vdc"}' >/dev/null 2>&1 &&
		[ "$(roost qmp g query-fdsets | jq '[.[].fds[] | select(.opaque // "" | startswith("vdc-"))] | length')" -eq 2 ]
}
plug() {
	roost attach-interface g user --restrict --mac $mac
}
plugged() {
	roost domiflist g | grep -q $mac && roost qmp g qom-list '{"path":"/machine/peripheral/nic100"}' >/dev/null 2>&1
}
grow() {
	roost blockresize g vdb 32M
}
grown() {
	[ "$(roost qmp g query-named-block-nodes | jq '.[] | select(."node-name" == "vdb").image."virtual-size"')" -eq 33554432 ]
}
more_vcpus() {
	roost setvcpus g 3
}
has_vcpus() {
	[ "$(roost qmp g query-hotpluggable-cpus | jq '[.[] | select(."qom-path")] | length')" -eq 3 ] &&
		[ "$(of_status g vcpus)" -eq 3 ]
}
detached() {
	! roost domblklist g | grep -q vdc
}

# put FILE: into the CD-ROM drive
put() {
	roost change-media g sda "$TMPDIR/$1"
}
in_drive() {
	roost domblklist g | grep -q "sda.*$medium" &&
		[ "$(roost qmp g query-block | jq -r '.[] | select(.qdev == "disk-sda") | "\(.inserted | type) \(.tray_open)"')" = "object false" ]
}
truncate -s 1M "$TMPDIR/one.iso" "$TMPDIR/two.iso"

# who dies at which point
plan() {
	for point in $points; do
		echo "keeper $point"
	done
	for point in $points; do
		case $point in
		shutdown-after-agent) ;; # it boots Linux, and asks nothing of roostd
		start-* | shutdown-* | attach-* | setvcpus-* | blockresize-* | destroy-*) echo "roostd $point" ;;
		esac
	done
}
plan >"$TMPDIR/plan"
while read -r victim point <&7; do
	case $point in
	start-before-fork)
		try "$point" roost start g
		case $victim in
		keeper) check_eq "$point: no QEMU, no crash" "shut off (failed to start: its keeper died)" "$(reason g)" ;;
		roostd) wait_until 10 is_state g running ;;
		esac
		up
		unharmed
		;;
	start-*)
		try "$point" roost start g
		say "$point: $(reason g) (status $status)"
		# its QEMU was there: the start goes on
		wait_until 5 is_state g running
		wait_until 30 is_up g
		booted=$(boots g)
		qemu=$(of_status g qemu_pid)
		unharmed
		check_status 5 roost start g
		;;
	destroy-*)
		up
		try "$point" roost destroy g
		say "$point: $(reason g) (status $status)"
		# its successor was asked again, unless QEMU had acted on what it heard of the first
		check_eq "$point: the status" 0 "$status"
		check_match "$point: ended" '^shut off \((destroyed|quit)\)$' "$(reason g)"
		;;
	shutdown-after-agent)
		[ -r "$GUESTS/tiny-vmlinux" ] || continue # pico has no agent
		roost define "$TMPDIR/tiny.yaml"
		roost start tiny >/dev/null 2>&1
		wait_until 120 agent_runs
		try "$point" roost shutdown tiny --mode agent --timeout 60s
		say "$point: $(reason tiny) (status $status)"
		[ "$status" -ne 0 ] || fail "$point: its keeper has died, and it was told as done"
		# the guest has heard it, whoever looks after it now
		wait_until 60 is_reason tiny '^shut off \(guest poweroff'
		continue
		;;
	shutdown-*)
		up
		try "$point" roost shutdown g --mode acpi --timeout 20s
		off_or_on() {
			is_state g "shut off" || { is_state g running && beyond g "$at"; }
		}
		at=$(ticks g)
		wait_until 10 off_or_on
		say "$point: $(reason g) (status $status)"
		if is_state g running; then
			unharmed
			roost shutdown g --mode acpi --timeout 20s >/dev/null
		fi
		check_match "$point: it was the guest" "guest poweroff" "$(reason g)"
		;;
	attach-interface-*)
		up
		before=$(facts)
		try "$point" plug
		either plugged plug
		;;
	attach-*)
		up
		before=$(facts)
		try "$point" attach
		either attached attach
		;;
	quiesce-before-freeze | backup-frozen)
		[ -r "$GUESTS/tiny-vmlinux" ] || continue # pico has no agent
		roost define "$TMPDIR/tiny-backup.yaml"
		roost start t >/dev/null 2>&1
		agent_of_t_runs() {
			roost agent t '{"execute":"guest-ping"}'
		}
		wait_until 120 agent_of_t_runs
		try "$point" roost backup t "$TMPDIR/backup"
		say "$point: status $status"
		[ "$status" -ne 0 ] || fail "$point: its keeper has died, and it was told as done"
		wait_until 30 agent_of_t_runs
		check_json "$point: thawed" '. == "thawed"' "$(roost agent t '{"execute":"guest-fsfreeze-status"}' --json)"
		[ ! -e "$ROOST_STATE/guests/t/journal" ] || fail "$point: the journal is still there"
		roost destroy t >/dev/null
		continue
		;;
	backup-*)
		# who asked has gone with the keeper: nothing is left of it, and the next one works
		up
		before=$(facts)
		try "$point" roost backup g "$TMPDIR/backup"
		say "$point: status $status"
		[ "$status" -ne 0 ] || fail "$point: its keeper has died, and it was told as done"
		unharmed
		check_eq "$point: nothing of it is left" "$before" "$(facts)"
		check_eq "$point: no job is left" 0 "$(roost qmp g query-jobs | jq length)"
		check_eq "$point: no file is left" "" "$(find "$TMPDIR" -name 'backup*')"
		roost backup g "$TMPDIR/backup" >/dev/null 2>&1
		check_eq "$point: nothing of it is left" "$before" "$(facts)"
		rm "$TMPDIR/backup"
		;;
	blockpull-*)
		qemu-img create -q -f qcow2 -F qcow2 -b "$TMPDIR/base.qcow2" "$TMPDIR/extra.qcow2" 16M
		up
		attach >/dev/null
		try "$point" roost blockpull g vdc
		say "$point: status $status"
		unharmed
		check_eq "$point: no job is left" 0 "$(roost qmp g query-jobs | jq length)"
		roost blockpull g vdc >/dev/null
		check_eq "$point: it stands alone" none "$(qemu-img info -U --output=json "$TMPDIR/extra.qcow2" | jq -r '."backing-filename" // "none"')"
		check_eq "$point: nothing below is held" vdc-file "$(roost qmp g query-fdsets | jq -r '.[].fds[].opaque | select(startswith("vdc"))')"
		down
		qemu-img create -q -f qcow2 -F qcow2 -b "$TMPDIR/base.qcow2" "$TMPDIR/extra.qcow2" 16M
		;;
	blockresize-*)
		qemu-img create -q -f qcow2 "$TMPDIR/second.qcow2" 16M
		up
		before=$(facts)
		try "$point" grow
		either grown grow
		;;
	media-*)
		# into an empty drive, then in the place of another
		up
		for medium in one.iso two.iso; do
			before=$(facts)
			try "$point" put $medium
			either in_drive put $medium
		done
		roost change-media g sda --eject >/dev/null
		;;
	save-*)
		# managed or into a file: wholly saved, or running on with nothing left of it
		for into in managed file; do
			up
			at=$(ticks g)
			case $point-$into in
			save-before-back-*) try "$point" sh -c "ulimit -f 100; roost save g '$TMPDIR/g.save'" ;;
			*-managed) try "$point" roost managedsave g ;;
			*-file) try "$point" roost save g "$TMPDIR/g.save" ;;
			esac
			decided() {
				is_state g running || is_state g "shut off"
			}
			wait_until 10 decided
			say "$point, $into: $(reason g) (status $status)"
			if is_state g running; then
				[ "$status" -ne 0 ] || fail "$point: it says that it is saved"
				[ ! -e "$ROOST_STATE/guests/g/managed.save" ] || fail "$point: a save is left of a guest that runs"
				[ ! -e "$TMPDIR/g.save" ] || fail "$point: a file is left of a guest that runs"
				unharmed
			else
				check_eq "$point: why it is off" "shut off (saved)" "$(reason g)"
				check_eq "$point: what it says" 0 "$status"
				case $into in
				managed) roost start g >/dev/null ;;
				file) roost restore "$TMPDIR/g.save" >/dev/null && rm "$TMPDIR/g.save" ;;
				esac
				wait_until 10 beyond g "$at"
				qemu=$(of_status g qemu_pid)
				unharmed
			fi
		done
		check_eq "$point: no file is left" "" "$(find "$TMPDIR" "$ROOST_STATE/guests/g" -name '*.save*')"
		;;
	clone-*) ;; # t_clone
	remake-*) ;; # t_image_chain
	commit-*) ;; # t_blockcommit
	pull-*) ;; # t_blockpull
	sysprep-*) ;; # t_sysprep
	renew-*) ;; # t_clone_identity
	template-*) ;; # t_template
	snapshot-before-plan | snapshot-planned | snapshot-before-merge | snapshot-merged | snapshot-forgotten) ;; # t_snapshot
	snapshot-merging) ;; # t_blockpull
	snapshot-begin | snapshot-live-planned | snapshot-nodes | snapshot-before-transaction | snapshot-taken | \
		snapshot-settled) ;; # t_snapshot_live
	snapshot-stopped | snapshot-memory-sent | snapshot-decided) ;; # t_snapshot_memory
	revert-*) ;; # t_snapshot_revert
	snapdel-*) ;; # t_snapshot_delete
	rename-*)
		# it has the old name or the new one, and can have the other
		try "$point" roost domrename g h
		if roost domstate h >/dev/null 2>&1; then
			say "$point: done (status $status)"
		else
			say "$point: undone (status $status)"
			roost domrename g h >/dev/null
		fi
		roost domrename h g >/dev/null
		up
		unharmed
		;;
	restore-copying) ;; # t_backup
	network-unrecorded) ;; # t_net_verbs
	net-* | network-* | holder-*) ;; # t_net_points
	end-left | installed-*) ;; # t_install
	define-filled) ;; # t_steps; t_store holds a define there
	restore-*)
		# it goes on, or it is off and the next start goes on
		up
		at=$(ticks g)
		roost managedsave g >/dev/null
		try "$point" roost start g
		settled() {
			is_state g running || is_state g "shut off"
		}
		wait_until 10 settled
		say "$point: $(reason g) (status $status)"
		if is_state g "shut off"; then
			[ -e "$ROOST_STATE/guests/g/managed.save" ] || fail "$point: its RAM is lost"
			roost start g >/dev/null
		fi
		[ ! -e "$ROOST_STATE/guests/g/managed.save" ] || fail "$point: what was saved is still there"
		wait_until 10 beyond g "$at"
		qemu=$(of_status g qemu_pid)
		unharmed
		;;
	screenshot-*)
		up
		before=$(facts)
		try "$point" roost screenshot g "$TMPDIR/g.png"
		[ ! -e "$TMPDIR/g.png" ] || fail "$point: a file was made of no picture"
		unharmed
		check_eq "$point: nothing of it is left" "$before" "$(facts)"
		;;
	setvcpus-*)
		up
		before=$(facts)
		try "$point" more_vcpus
		either has_vcpus more_vcpus
		;;
	detach-*)
		up
		before=$(facts)
		attach >/dev/null
		try "$point" roost detach-disk g vdc --timeout 1s
		unharmed
		if ! detached; then
			# pico lets go of nothing before its reset
			check_status 8 roost detach-disk g vdc --timeout 1s
			roost reset g >/dev/null
			wait_until 20 detached
		fi
		check_eq "$point: nothing of it is left" "$before" "$(facts)"
		attach >/dev/null
		attached || fail "$point: cannot be attached again"
		;;
	*)
		fail "failpoint '$point' has no case here"
		;;
	esac
	down
done 7<"$TMPDIR/plan"
rm -f "$ROOST_RUN/fail"

# --- roostd, and sometimes the keeper too, at any moment
say "20 rounds of random kills"
seed=$(date +%s)
say "seed $seed"
random() {
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	echo $((seed / 65536 % $1))
}
killer() {
	sleep "0.$(printf %03d "$1")"
	# shellcheck disable=SC2046 # several words are meant
	kill -KILL $(roostd_pids) || :
	[ "$2" -ne 0 ] || kill -KILL "$(of_status g keeper_pid)" || :
}
for round in $(seq 20); do
	killer "$(random 500)" "$(random 3)" >/dev/null 2>&1 &
	killer=$!
	roost start g >/dev/null 2>&1 || :
	attach >/dev/null 2>&1 || :
	roost setvcpus g 2 >/dev/null 2>&1 || :
	[ "$(random 2)" -eq 0 ] || roost destroy g >/dev/null 2>&1 || :
	wait $killer
	point="round $round"
	# whatever came of it, it is one of two things, and obeys
	roost list >/dev/null
	not_between() {
		is_state g running || is_state g "shut off" || is_state g crashed
	}
	wait_until 10 not_between
	if is_state g running; then
		roost suspend g >/dev/null
		roost resume g >/dev/null
		[ ! -e "$ROOST_STATE/guests/g/journal" ] || fail "$point: the journal is still there"
		attached || detached || fail "$point: half a disk is attached"
	fi
	down
done
up
ticks_go_on g
down
wait_until 10 run_is_empty
