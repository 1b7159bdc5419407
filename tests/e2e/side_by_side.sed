# What must differ between libvirt's programs and ours, for t_side_by_side: each rule with its reason. Lines begin with the
# stream, "1|" or "2|", and end with '$'.

# how long a guest has computed, and on which of the host's CPUs, is its own
s/^\(1|CPU time: *\)[0-9.]*s\$$/\1N/
s/^\(1|CPU: *\)[0-9]*\$$/\1N/
# the host's clock rate is read anew each time
s/^\(1|CPU frequency: *\)[0-9]* /\1N /
# QEMU runs as root there, which taints a guest
/^1|Messages: /d
# what takes its time is shown anew from a carriage return on, as often as there is time for
s/^1|.*\r/1|/
# how long it took, and how much of it was seen meanwhile, is a slow machine's own
s/^\(1|[A-Z][a-z]* [^|]*|\) *[0-9.]* *[kKMGT]*B  [0-9:]*[ .!]*\$$/\1 SIZE TIME/
# a bridge of roost's lies in the network's own namespace
s/^\(1|Bridge: *\).*/\1BRIDGE/
# taps are called vnetN, and by the guest's UUID: the column is as wide as the name
s/^1| vnet[0-9]*  */1| TAP /
s/^1| t[0-9a-f]\{8,\}  */1| TAP /
/^1| Interface  */,/^1|\$$/ {
	s/^1| Interface  */1| Interface /
	s/^1|---*/1|RULE/
}
# when a lease ends
s/^1| [0-9-]\{10\} [0-9:]\{8\} /1| EXPIRES /
# figures of a guest's memory and disks, each its own: the keys must be the same
s/^\(1|[a-z_]*\) [0-9][0-9]*\$$/\1 N/
s/^\(1|vd[a-z] [a-z_]*_total_times\) [0-9]*\$$/\1 N/
s/^\(1| total duration of .*:\) *[0-9]*\$$/\1 N/
s/^\(1| number of .*:\) *[0-9]*\$$/\1 N/
# at which terminal QEMU has the console
s,^1|/dev/pts/[0-9]*\$$,1|TERMINAL,
