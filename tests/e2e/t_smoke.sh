#!/bin/sh
# `roost smoke`: what it says of each kind of step that fails, and of suites that are wrong; its exit statuses and its
# reports, read by others' parsers; and that nothing is left, after ^C and after kill -9 with --clean.
# limit: 600
. "$TOP/tests/e2e/lib.sh"
need pico.raw tiny-vmlinux tiny-initrd
cd "$TMPDIR"

# the definitions that the suites name
cat >pico.yaml <<-END
	name: pico
	memory: 32M
	disks: [{path: $GUESTS/pico.raw, format: raw}]
	interfaces: []
END
cat >tiny.yaml <<-END
	name: wonderland
	memory: 192M
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	interfaces: [{user: {restrict: true, hostfwd: ["-22", "-8080"]}}]
	cloud_init: {user: alice}
END
# smoke STATUS OPTION...: FILE among them; what it printed is in $out
smoke() {
	smoke_status=$1
	shift
	check_status "$smoke_status" roost smoke "$@"
}
# says TEST SENTENCE: an extended regular expression, in the line of that test
says() {
	printf '%s\n' "$out" | grep -E "^(ok|FAILED|ERROR|skipped) +[0-9.]+ s  $1(:|$)" >says || fail "no line for $1: $out"
	grep -Eq -e "$2" says || fail "$1: expected /$2/, got '$(cat says)'"
}
no_guests() {
	check_eq "guests that are left" "" "$(roost list --all --name)"
	[ -z "$(find "$ROOST_STATE/guests" "$ROOST_STATE/kept" -mindepth 1 2>/dev/null)" ] || fail "files are left"
	wait_until 10 run_is_empty
}

say "words, and suites that are wrong: 2, and nothing was started"
cat >pass.yaml <<-END
	guests:
	  - name: pico
	    file: pico.yaml
	    matrix: {mem: [32M, 48M], bus: [virtio, ide]}
	    definition:
	      memory: \${{mem}}
	      disks: [{path: $GUESTS/pico.raw, format: raw, bus: "\${{bus}}"}]
	  - name: other
	    file: pico.yaml
	steps:
	  - console: PICO-UP boot=[0-9a-f]{4}$
	  - qmp: query-status
	    reply: {status: running, running: true}
END
printf 'guests:\n  - name: g\n    file: pico.yaml\nsteps:\n  - console: x\n    abesnt: true\n' >wrong.yaml
smoke 2 wrong.yaml
check_match "the line and the nearest key" "^roost: wrong.yaml:6: steps\[0\].abesnt: there is no such key" "$out"
check_match "the line and the nearest key" "did you mean 'absent'" "$out"
smoke 2 wrong.yaml --json
check_json "in JSON" '.error | .class == "usage" and (.desc | test("wrong.yaml:6"))' "$out"
sed 's/abesnt/absent/; s/pico.yaml/none.yaml/' wrong.yaml >missing.yaml
smoke 2 missing.yaml
check_match "a definition that is missing" "missing.yaml:3: cannot read .*none.yaml" "$out"
smoke 2
smoke 2 no-such-suite.yaml
check_match "a suite that is missing" "no-such-suite.yaml" "$out"
smoke 2 pass.yaml -k nothing-like-it
check_match "no test" "no test has a name with 'nothing-like-it'" "$out"
smoke 2 pass.yaml --tap "$TMPDIR/no/such/folder"
check_match "a report that cannot be written" "no/such/folder" "$out"
smoke 2 pass.yaml -j 0
smoke 2 pass.yaml --json --tap -
smoke 2 --clean pass.yaml
smoke 0 pass.yaml --list
check_eq "--list" "pico/mem=32M/bus=virtio pico/mem=32M/bus=ide pico/mem=48M/bus=virtio pico/mem=48M/bus=ide other" \
	"$(echo "$out" | xargs)"
smoke 0 pass.yaml --list -k '48M*ide'
check_eq "--list -k" "pico/mem=48M/bus=ide" "$out"
check_eq "nothing was started" "" "$(roostd_pids)"

say "the host could not: 3"
check_status 3 env ROOST_QEMU=/no/such/qemu roost smoke pass.yaml
check_match "no QEMU" "cannot run QEMU, '/no/such/qemu'" "$out"
check_status 3 env ROOST_RUN=/proc/nowhere roost smoke pass.yaml
check_match "no roostd" "roostd|/proc/nowhere" "$out"
printf 'guests:\n  - name: huge\n    file: pico.yaml\n    definition: {memory: 8192G}\n' >huge.yaml
smoke 3 huge.yaml
says huge 'it needs 8 TiB of memory, and the host has'
check_match "totals" '^0 passed, 0 failed, 1 that the host could not run, in ' "$out"

if roost validate --json | jq -e 'any(.[]?; .name == "kvm" and .result != "PASS")' >/dev/null; then
	printf 'guests:\n  - name: fast\n    file: pico.yaml\n    definition: {accel: kvm}\n' >kvm.yaml
	smoke 3 kvm.yaml
	says fast 'start: .*KVM'
	no_guests
fi

say "all passed: 0"
smoke 0 pass.yaml --tap pass.tap --junit pass.xml
says pico/mem=48M/bus=ide ''
check_match "totals" '^5 passed, 0 failed, in ' "$out"
no_guests
check_eq "the disk is as it was" "" "$(cmp "$GUESTS/pico.raw" "$TOP/build/guests/pico.raw" 2>&1)"
check_match "TAP" '^ok 5 - other$' "$(cat pass.tap)"
! command -v prove >/dev/null || prove -e cat pass.tap >prove.out || fail "prove: $(cat prove.out)"
smoke 0 pass.yaml -k other --json
check_json "--json" '.suite == "pass" and .passed == 1 and .failed == 0 and (.tests | length) == 1 and
	.tests[0].name == "other" and .tests[0].result == "passed" and (.tests[0].steps | length) == 2' "$out"
smoke 0 pass.yaml -k other --tap -
check_eq "--tap -" "TAP version 13 1..1 ok 1 - other" "$(echo "$out" | grep -v '^roost:\|^begins' | xargs)"

# --- what fails, in a guest without a network -------------------------------------------------------------------------
say "each kind of step that fails: 1"
truncate -s 1M mute.raw
cat >pico-fails.yaml <<-END
	guests:
	  - name: console
	    file: pico.yaml
	    steps:
	      - console: tick=
	      - console: no such word
	        timeout: 1s
	  - name: absent
	    file: pico.yaml
	    steps: [{console: PICO-UP}, {console: PICO-UP, absent: true}]
	  - name: reply
	    file: pico.yaml
	    steps: [{qmp: query-status, reply: {status: paused}}]
	  - name: retry
	    file: pico.yaml
	    steps: [{qmp: query-status, reply: {status: paused}, retry: 1s}]
	  - name: refused
	    file: pico.yaml
	    steps: [{qmp: quit}]
	  - name: no-error
	    file: pico.yaml
	    steps: [{qmp: query-status, error: not found}]
	  - name: event
	    file: pico.yaml
	    steps: [{event: STOP, timeout: 1s}]
	  - name: event-data
	    file: pico.yaml
	    steps:
	      - qmp: system_reset
	      - event: RESET
	      - event: RESET
	        data: {reason: nobody}
	        timeout: 1s
	  - name: event-count
	    file: pico.yaml
	    steps: [suspend, resume, {event: RESUME, count: 7, timeout: 1s}]
	  - name: suspend
	    file: pico.yaml
	    steps: [suspend, suspend]
	  - name: resume
	    file: pico.yaml
	    steps: [resume]
	  - name: reboot
	    file: pico.yaml
	    steps: [{name: up again, reboot: {mode: acpi, for: address}}]
	  - name: host-status
	    file: pico.yaml
	    steps: [{host: "echo why >&2; exit 3"}]
	  - name: host-output
	    file: pico.yaml
	    steps: [{host: roost domstate "\$ROOST_GUEST", equals: paused}]
	  - name: host-late
	    file: pico.yaml
	    steps: [{host: "sleep 77 & wait", timeout: 1s}]
	  - name: max-boot
	    file: pico.yaml
	    steps: [{max_boot: 1ms}]
	  - name: gone
	    file: pico.yaml
	    steps:
	      - console: tick= # from then on it hears the button
	      - qmp: system_powerdown
	      - console: never
	        timeout: 20s
	  - name: test-timeout
	    file: pico.yaml
	    timeout: $((3 * E2E_PATIENCE))s
	    steps: [{console: never, timeout: 30s}]
	  - name: boot
	    file: pico.yaml
	    definition:
	      disks: [{path: mute.raw, format: raw}]
	      ready: {deadlines: {console: 1s}}
	  - name: define
	    file: pico.yaml
	    definition: {machine: pc-q35-0.1}
	  - name: fine
	    file: pico.yaml
	    steps:
	      - console: tick=0001
	      - qmp: no-such-command
	        error: no-such-command
	      - {qmp: qom-list, arguments: {path: /machine}, reply: [{name: peripheral}]}
	      - suspend
	      - {qmp: query-status, reply: '{"status": "paused", "running": false}'}
	      - {event: STOP, timeout: 5s}
	      - resume
	      - {max_boot: 60s, rung: running}
	      - reboot: {mode: acpi}
	      - {console: 'tick=0001', timeout: 30s}
	      - {event: ROOST_STATE, data: {state: paused}}
	      - {host: "cat smoke-word; sleep 77 >/dev/null 2>&1 &", equals: here}
END
echo here >smoke-word
smoke 1 pico-fails.yaml --json --tap fails.tap --junit fails.xml
printf '%s\n' "$out" | sed '/^{/,$!d' >fails.json
# why TEST REGEX: its sentence
why() {
	why=$(jq -r --arg name "$1" '.tests[] | select(.name == $name) | .sentence // ""' fails.json)
	check_match "$1" "$2" "$why"
}
why console "^step 2, console 'no such word': expected 'no such word' on the console, got [0-9]+ bytes without it within 1 s$"
why absent "^step 2, console 'PICO-UP': expected no 'PICO-UP' on the console, and it is there$"
why reply '^step 1, qmp query-status: expected reply\.status to be "paused", got "running"$'
why retry '^step 1, qmp query-status: expected reply\.status to be "paused", got "running"$'
check_json "it was tried for a second" '.tests[] | select(.name == "retry") | .ms > 1000' "$(cat fails.json)"
why refused "^step 1, qmp quit: expected a reply, got: command 'quit' may not be passed through"
why no-error "^step 1, qmp query-status: expected an error that matches 'not found', got the reply .*running"
why event "^step 1, event STOP: expected the event 1 times within 1 s, got it 0 times$"
why event-data '^step 3, event RESET: expected its data\.reason to be "nobody", got "[a-z-]+"$'
why event-count "^step 3, event RESUME: expected the event 7 times within 1 s, got it [12] times$"
why suspend "^step 2, suspend: expected a guest that is running, got one that is paused$"
why resume "^step 1, resume: expected a guest that is paused, got one that is running$"
why reboot "^step 1, up again: guest 'smoke-[0-9a-f]{6}-[0-9]+-reboot' did not reach 'address'"
why host-status "^step 1, host 'echo why >&2; exit 3': expected exit status 0, got 3 and 'why'$"
why host-output "^step 1, host '.*': expected output equal to 'paused', got 'running'$"
why host-late "^step 1, host '.*': expected exit status 0, but it has not ended within 1 s$"
# what it started has ended
nobody_sleeps() {
	! pgrep --ns $$ --nslist net -x -f 'sleep 77'
}
wait_until 5 nobody_sleeps
why max-boot "^step 1, max_boot: expected 'console' within 0\.00 s of the start, got it after [0-9.]+ s$"
why gone "^step 3, console 'never': expected 'never' on the console: the guest is shut off"
why test-timeout "^the test's $((3 * E2E_PATIENCE)) s were over during console 'never'$"
why boot "^boot: guest 'smoke-[0-9a-f]{6}-[0-9]+-boot' did not reach 'console': it writes nothing"
why define "^define: machine: this QEMU knows no machine 'pc-q35-0.1'$"
why fine '^$'
check_json "the rest of the report" '.failed == 20 and .passed == 1 and .error == 0 and
	(.tests[] | select(.name == "console") | (.at == "console '"'no such word'"'") and (.console | map(test("tick=")) | any)) and
	(.tests[] | select(.name == "event-count") | .steps | map(.step)) == ["suspend", "resume"]' "$(cat fails.json)"
no_guests

say "the reports, read by others"
python3 - fails.xml <<-'END'
	import sys, xml.etree.ElementTree as tree
	suites = tree.parse(sys.argv[1]).getroot()
	suite = suites.find("testsuite")
	assert suites.tag == "testsuites" and suite.get("name") == "pico-fails"
	assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("21", "20", "0", "0")
	cases = {c.get("name"): c for c in suite.findall("testcase")}
	assert len(cases) == 21 and cases["fine"].find("failure") is None
	assert cases["console"].find("failure").get("message").startswith("step 2, console 'no such word': expected")
	assert "tick=" in cases["console"].find("system-out").text
	assert float(cases["retry"].get("time")) > 1
END
! command -v prove >/dev/null || {
	prove -e cat fails.tap >prove.out 2>&1 && fail "prove takes failures for passes: $(cat prove.out)"
	check_match "prove" 'Failed 20/21 subtests' "$(cat prove.out)"
	check_no_match "prove has no trouble with its form" 'Parse errors|bad plan' "$(cat prove.out)"
}

say "--fail-fast, -k"
cat >fast.yaml <<-END
	guests:
	  - {name: a, file: pico.yaml, steps: [{console: PICO-UP}, {console: PICO-UP, absent: true}]}
	  - {name: b, file: pico.yaml, steps: [{console: never}]}
	  - {name: c, file: pico.yaml}
END
since=$(now_ms)
smoke 1 fast.yaml -j 2 --fail-fast --tap fast.tap
check_time "it does not wait for b" 30000 "$since"
says a "absent|it is there"
check_match "what was not to be" '^0 passed, 1 failed, 2 skipped' "$out"
check_match "TAP" "^ok 2 - b # SKIP ended during .*another test failed" "$(cat fast.tap)"
check_match "TAP" "^ok 3 - c # SKIP not begun: another test failed" "$(cat fast.tap)"
no_guests
smoke 0 fast.yaml --fail-fast -k c

say "the suite's time"
{ echo "timeout: $((6 * E2E_PATIENCE))s" && cat fast.yaml; } >late.yaml
since=$(now_ms)
smoke 1 late.yaml -j 1 --tap late.tap
check_time "it ends in time" 25000 "$since"
says b "the suite's [0-9]+ s were over during console 'never'$"
check_match "it is told" "^ok 3 - c # SKIP not begun: the suite's time was over" "$(cat late.tap)"
no_guests

say "--keep-failed"
pico mine
smoke 1 fast.yaml -k a --keep-failed
kept=$(roost list --name)
check_match "it runs on" '^smoke-[0-9a-f]{6}-1-a$' "$kept"
check_match "it is told" "kept: .roost console $kept" "$out"
check_eq "it runs on" running "$(state "$kept")"
smoke 0 --clean
check_eq "it is told" "Guest '$kept' removed" "$out"
check_eq "only the user's guest is left" mine "$(roost list --all --name)"

# --- ^C and worse -----------------------------------------------------------------------------------------------------
say "^C, SIGTERM"
sed 's/PICO-UP, absent: true/never/' fast.yaml >long.yaml
runs() { # runs N: so many tests' guests do
	[ "$(roost list --name | grep -c '^smoke-')" -eq "$1" ]
}
for signal in INT TERM; do
	roost smoke long.yaml -j 2 --junit cut.xml >cut.out 2>&1 &
	runner=$!
	wait_until 30 runs 2
	kill -$signal $runner
	status=0
	wait $runner || status=$?
	check_eq "its status after SIG$signal" "$([ $signal = INT ] && echo 130 || echo 143)" $status
	check_eq "only the user's guest is left" mine "$(roost list --all --name)"
	check_match "it is told" 'the guests of the tests are removed' "$(cat cut.out)"
	check_match "totals" '0 passed, 0 failed, 3 skipped' "$(cat cut.out)"
	python3 -c 'import sys, xml.etree.ElementTree as t; assert t.parse(sys.argv[1]).getroot().get("skipped") == "3"' cut.xml
done
say "the same at a terminal, typed"
{ # typed when both tests wait for what never comes
	wait_until 60 runs 2
	for guest in $(roost list --name | grep '^smoke-'); do
		wait_until 60 beyond "$guest" 1
	done
	printf '\003'
} | TERM=xterm script -qc "trap : INT; roost smoke long.yaml -j 2; echo status=\$?" typed.out >/dev/null
check_match "its status" 'status=130' "$(cat typed.out)"
check_match "live lines" "\[[0-9]+A" "$(cat -v typed.out)"
check_match "live lines" "s  [ab]  2/2 console 'never'" "$(cat -v typed.out)"
check_eq "only the user's guest is left" mine "$(roost list --all --name)"

say "kill -9 of the runner in the middle of -j 4; --clean"
cat >four.yaml <<-END
	guests:
	  - name: g
	    file: pico.yaml
	    matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8]}
	steps:
	  - {console: 'tick=000\${{n}}', timeout: 60s}
	  - console: never
END
roost start mine
roost smoke long.yaml -k b >alive.out 2>&1 &
alive=$!
wait_until 30 runs 1
theirs=$(roost list --name | grep '^smoke-')
roost smoke four.yaml -j 4 >killed.out 2>&1 &
runner=$!
wait_until 30 runs 5
kill -9 $runner
wait $runner || :
smoke 0 --clean --json
check_json "four are removed" '.removed | length == 4 and all(test("^smoke-[0-9a-f]{6}-[1-4]-g$"))' "$out"
check_eq "the user's, and that of a runner that lives" "mine $theirs" "$(roost list --all --name | sort | xargs)"
smoke 0 --clean
check_eq "nothing more" "" "$out"
kill -INT $alive
wait $alive || :
check_eq "only the user's guest is left" mine "$(roost list --all --name)"
say "kill -9 at any moment of a test's life"
for moment in 0.05 0.1 0.2 0.3 0.5 0.8; do
	roost smoke four.yaml -j 4 >killed.out 2>&1 &
	runner=$!
	sleep $moment # not a proof: a moment is wanted that nothing marks
	kill -9 $runner
	wait $runner || :
	smoke 0 --clean
	check_eq "after $moment s" mine "$(roost list --all --name)"
done
check_eq "unharmed" running "$(state mine)"
roost destroy mine
roost undefine mine --remove-all-storage
no_guests

# --- what fails, and what passes, over SSH ----------------------------------------------------------------------------
say "steps that log in"
printf 'echo from a script\nexit 3\n' >script.sh
mkdir -p tree got
echo "deep down" >tree/leaf
slow=$((1 + 2 * E2E_PATIENCE)) # a login, and no more, for those steps last so long
cat >ssh.yaml <<-END
	step_timeout: $((60 + 30 * E2E_PATIENCE))s
	guests:
	  - name: status
	    file: tiny.yaml
	    steps: [{run: "echo some words >&2; exit 3"}]
	  - name: equals
	    file: tiny.yaml
	    steps: [{run: hostname, equals: looking-glass}]
	  - name: bytes
	    file: tiny.yaml
	    steps: [{run: "printf '\\\\033[31m\\\\377\\\\001<&>]]>\\"'", contains: nothing}]
	  - name: matches
	    file: tiny.yaml
	    steps: [{run: "echo one; echo two", matches: "^o\$"}]
	  - name: slow
	    file: tiny.yaml
	    steps: [{run: sleep 100, timeout: ${slow}s}]
	  - name: script
	    file: tiny.yaml
	    steps: [{script: script.sh}]
	  - name: copy-in
	    file: tiny.yaml
	    steps: [{copy: {in: script.sh, to: /proc/nowhere/x}}]
	  - name: copy-out
	    file: tiny.yaml
	    steps: [{copy: {out: /no/such/file, to: got/}}]
	  - name: port
	    file: tiny.yaml
	    steps: [{port: 81, timeout: ${slow}s}]
	  - name: port-open
	    file: tiny.yaml
	    steps: [{port: 22, open: false, timeout: ${slow}s}]
	  - name: http
	    file: tiny.yaml
	    steps: [{http: "http://guest:8080/", timeout: 3s}]
	  - name: http-inside
	    file: tiny.yaml
	    steps: [{http: "http://127.0.0.1:81/", timeout: 3s}]
	  - name: http-status
	    file: tiny.yaml
	    steps: [{run: busybox httpd -p 8080 -h /tmp}, {http: "http://guest:8080/none"}]
	  - name: stranger
	    file: tiny.yaml
	    steps: [{run: id, user: mallory}]
	  - name: fine
	    file: tiny.yaml
	    matrix: {user: [alice]}
	    steps:
	      - {run: id -un, equals: "\${{user}}"}
	      - {run: "echo a; echo b", equals: "a\nb", matches: "^b\$", contains: "a\nb"}
	      - {run: "exit 4", status: 4}
	      - {run: id -un, user: root, equals: root}
	      - {run: hostname, equals: wonderland}
	      - {script: script.sh, status: 3, equals: from a script}
	      - {script: script.sh, status: 3, shell: sh -e}
	      - {copy: {in: tree, to: /tmp/www, recursive: true}}
	      - {run: 'date +%s >>/tmp/tries; [ \$(wc -l </tmp/tries) -ge 3 ]', retry: 60s}
	      - {port: 22}
	      - {port: 8080, open: false}
	      - {run: busybox httpd -p 8080 -h /tmp/www}
	      - {port: 8080}
	      - {port: 8080, address: "10.0.2.15"}
	      - {http: "http://guest:8080/leaf", equals: deep down}
	      - {http: "http://127.0.0.1:8080/leaf", matches: "^deep"}
	      - {http: "http://127.0.0.1:8080/none", status: 404}
	      - {copy: {out: /tmp/www/leaf, to: "leaf-of-\${{test}}"}}
	      - {max_boot: $((60 + 60 * E2E_PATIENCE))s, rung: tcp}
	      - {reboot: , timeout: $((60 + 60 * E2E_PATIENCE))s}
	      - {run: "test ! -e /tmp/www"}
END
smoke 1 ssh.yaml --json --junit ssh.xml
printf '%s\n' "$out" | sed '/^{/,$!d' >fails.json
why status "^step 1, run 'echo some words >&2; exit 3': expected exit status 0, got 3 and 'some words'$"
why equals "^step 1, run 'hostname': expected output equal to 'looking-glass', got 'wonderland'$"
why bytes "expected output with 'nothing', got '\\\\x1b\[31m\\\\xff\\\\x01<&>\]\]>\"'$"
why matches "^step 1, run .*: expected output that matches '\^o\\$', got 'one\\\\ntwo'$"
why slow "^step 1, run 'sleep 100': expected exit status 0, but it has not ended within $slow s$"
why script "^step 1, script '.*script.sh': expected exit status 0, got 3 and 'from a script'$"
why copy-in "^step 1, copy '.*script.sh': expected a copy at '/proc/nowhere/x', got: .*/proc/nowhere"
why copy-out "^step 1, copy '/no/such/file': expected a copy at '.*/got/', got: .*/no/such/file"
why port "^step 1, port 81: expected port 81 of 127.0.0.1 to be open, got '.*' for $slow s$"
why port-open "^step 1, port 22: expected port 22 of 127.0.0.1 to be closed, got 'open' for $slow s$"
why http "^step 1, http http://guest:8080/: expected an answer within 3 s, got: "
why http-inside "^step 1, http http://127.0.0.1:81/: expected an answer within 3 s, got: "
why http-status "^step 2, http http://guest:8080/none: expected status 200, got 404"
why stranger "^step 1, run 'id': expected exit status 0, got no answer: .*mallory"
why fine/user=alice '^$'
check_json "the rest of the report" '.failed == 14 and .passed == 1' "$(cat fails.json)"
check_eq "copied out" "deep down" "$(cat leaf-of-fine-user-alice)"
python3 - ssh.xml <<-'END'
	import sys, xml.etree.ElementTree as tree
	cases = {c.get("name"): c for c in tree.parse(sys.argv[1]).getroot().iter("testcase")}
	assert r"got '\x1b[31m\xff\x01<&>]]>" in cases["bytes"].find("failure").text
END
no_guests

say "the example"
need tiny.qcow2
smoke 0 "$TOP/docs/smoke-example.yaml" -k pico
smoke 0 "$TOP/docs/smoke-example.yaml" -k cpus=2
says ram/cpus=2 ''
no_guests
