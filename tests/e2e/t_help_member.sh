#!/bin/sh
# Every command's example once more, as t_help runs it, by a member of the group `roost` on root's instance.
# user: root
# limit: 600
. "$TOP/tests/e2e/members.sh"

need tiny-vmlinux tiny-initrd
roost boot
# t_help wants to know the folders, and alice's roost is to find them by itself
mkdir "$TMPDIR/bin" "$TMPDIR/t"
chown alice: "$TMPDIR/t"
printf '#!/bin/sh\nexec env -u ROOST_STATE -u ROOST_RUN %s "$@"\n' "$(command -v roost)" >"$TMPDIR/bin/roost"
chmod -R 755 "$TMPDIR/bin"
qemu-img create -q -f qcow2 "$TMPDIR/debian-12.qcow2" 64M
roost image import "$TMPDIR/debian-12.qcow2"
as alice PATH="$TMPDIR/bin:$PATH" TOP="$TOP" GUESTS="$GUESTS" E2E_PATIENCE="$E2E_PATIENCE" TMPDIR="$TMPDIR/t" USER=alice \
	ROOST_STATE="$ROOST_STATE" ROOST_RUN="$ROOST_RUN" sh "$TOP/tests/e2e/t_help.sh"
roost halt --timeout 5s
