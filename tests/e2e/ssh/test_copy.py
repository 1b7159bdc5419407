"""roost-ssh copy: both ways, SFTP and scp, odd names, errors, interruptions."""

import json
import os
import shutil
import signal
import subprocess

from harness import *  # noqa: F403: the tests' own small language
from servers import *  # noqa: F403


WORSE = [b"new\nline", b"bytes\xff\xfe", b"\x1b[31m"]


def check_trees(s, names, protocol):
    here = os.path.join(DIR, "tree")
    tree(here, names)
    far("t")
    for _ in range(2):  # the second time into what is there
        o = copy(s, "to", here, "t" if not os.path.exists(f"{HOME}/t") else ".", recursive=True)
        eq(o.status, 0, o.out)
        eq(o.last["protocol"], protocol)
    same(here, f"{HOME}/t")
    same(here, f"{HOME}/tree")
    assert os.stat(f"{HOME}/t/empty").st_mode & 0o777 == 0o755
    back = scratch("back")
    eq(copy(s, "from", back + "/new", "t", recursive=True).status, 0)
    same(here, back + "/new")
    eq(copy(s, "from", back, "~/t/", recursive=True).status, 0)
    same(here, back + "/t")
    # one by one
    for name in names:
        text = os.fsdecode(name)
        try:
            text.encode()
        except UnicodeEncodeError:
            continue  # JSON cannot say it
        o = copy(s, "from", back, "t/" + text)
        eq(o.status, 0, o.out)
        eq(read(os.path.join(os.fsencode(back), name)), read(os.path.join(os.fsencode(here), name)))
        far("single")
        eq(copy(s, "to", os.path.join(here, text), "single").status, 0)
        eq(read(f"{HOME}/single"), read(os.path.join(os.fsencode(here), name)))
    far("t")
    far("tree")
    far("single")


def test_copy_trees_sftp():
    with Sshd([USER_PUBLIC]) as s:
        check_trees(s, ODD + WORSE, "sftp")


def test_copy_trees_scp():
    with Sshd([USER_PUBLIC], sftp=False) as s:
        check_trees(s, ODD, "scp")
        here = os.path.join(DIR, "tree")
        tree(here, [b"new\nline"])
        o = copy(s, "to", here, "x", recursive=True)
        eq(o.status, 5)
        has(o.last["error"]["desc"], "new line")
        far("x")


def check_errors(s):
    here = scratch("errors")
    write(here + "/f", b"content")
    write(here + "/g", b"other")
    for args, status, part in (
        (("to", here + "/missing", "x"), 3, "missing"),
        (("from", here + "/x", "missing file"), 3, "missing file"),
        (("to", here, "x"), 2, here),
        (("from", here + "/x", "."), 2, "folder"),
        (("to", here + "/f", "/root/x"), 5, "/root/x"),
        (("from", here + "/x", "/etc/shadow"), 5, "/etc/shadow"),
        (("to", here + "/f", "no/such/folder/x"), 3, "no/such/folder"),
        (("from", here + "/no/such/x", "ok"), 3, "no/such/x"),
        (("to", [here + "/f", here + "/g"], "no folder"), None, "no folder"),
        (("from", here + "/f", ["ok", "ok"]), 7, here + "/f"),
        (("to", "/dev/null", "x"), 5, "/dev/null"),
        (("from", "/dev/null", "ok"), 5, "/dev/null"),
        (("to", "/", "x"), 2, "/"),
    ):
        far("ok", b"fine")
        o = copy(s, *args)
        assert o.status == status if status else o.status, (args, o.status, o.out)
        has(o.last["error"]["desc"], part)
        eq(sorted(os.listdir(here)), ["f", "g"], f"{args}:")
    eq(read(here + "/f"), b"content")
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")
    far("ok")


def test_copy_errors_sftp():
    with Sshd([USER_PUBLIC]) as s:
        check_errors(s)
        # a folder where a file shall go, a file where a folder shall go
        here = scratch("kinds")
        os.makedirs(here + "/thing")
        write(here + "/file", b"")
        far("thing", b"file")
        o = copy(s, "from", here, "thing")
        has(o.last["error"]["desc"], "is a folder")
        o = copy(s, "to", here + "/thing", "thing", recursive=True)
        assert o.status
        o = copy(s, "to", here + "/file", "thing/")
        assert o.status
        far("thing")


def test_copy_errors_scp():
    with Sshd([USER_PUBLIC], sftp=False) as s:
        o = copy(s, "from", scratch("x") + "/y", "no such")
        eq((o.status, "No such file" in o.last["error"]["desc"]), (3, True), o.out)
        o = copy(s, "from", scratch("x") + "/y", "/etc/shadow")
        eq(o.status, 5, o.out)
        o = copy(s, "to", keygen("host")[0], "/root/x")
        eq(o.status, 5, o.out)
    with Sshd([USER_PUBLIC], sftp=False, path=fake_path("empty")) as s:
        pass
    with Sshd([USER_PUBLIC], sftp=False, path="/nonexistent") as s:
        for direction in ("to", "from"):
            o = copy(s, direction, USER_KEY + ".pub", "y")
            eq(o.status, 6, o.out)
            has(o.last["error"]["desc"], "no SFTP")
            has(o.last["error"]["desc"], "not found")


def check_facts(s):
    here = scratch("facts")
    os.makedirs(here + "/d")
    write(here + "/d/f", b"x")
    os.chmod(here + "/d/f", 0o4751)
    os.utime(here + "/d/f", (1000000000, 1100000000))
    os.chmod(here + "/d", 0o750)
    os.utime(here + "/d", (1000000000, 1200000000))
    far("kept")
    eq(copy(s, "to", here + "/d", "kept", recursive=True, preserve=True).status, 0)
    eq(copy(s, "from", here + "/back", "kept", recursive=True, preserve=True).status, 0)
    for base in (f"{HOME}/kept", here + "/back"):
        st = os.stat(base + "/f")
        eq((oct(st.st_mode & 0o7777), st.st_mtime), (oct(0o751), 1100000000), base)
        st = os.stat(base)
        eq((oct(st.st_mode & 0o7777), st.st_mtime), (oct(0o750), 1200000000), base)
    # not kept: a fresh file gets the mode less the umask, an old one keeps its own
    os.chmod(f"{HOME}/kept/f", 0o666)
    eq(copy(s, "from", here + "/fresh", "kept/f").status, 0)
    eq(oct(os.stat(here + "/fresh").st_mode & 0o777), oct(0o644))
    os.chmod(here + "/fresh", 0o600)
    eq(copy(s, "from", here + "/fresh", "kept/f").status, 0)
    eq(oct(os.stat(here + "/fresh").st_mode & 0o777), oct(0o600))
    far("kept")


def test_copy_facts():
    with Sshd([USER_PUBLIC]) as s:
        check_facts(s)
    with Sshd([USER_PUBLIC], sftp=False) as s:
        check_facts(s)


def test_copy_links():
    here = scratch("links")
    os.makedirs(here + "/t/sub")
    write(here + "/secret", b"secret")
    os.symlink(here + "/secret", here + "/t/link")
    os.symlink("..", here + "/t/sub/loop")
    os.mkfifo(here + "/t/fifo")
    with Sshd([USER_PUBLIC]) as s:
        o = copy(s, "to", here + "/t", "t", recursive=True)
        eq((o.status, len([line for line in o.lines if "note" in line])), (0, 3), o.out)
        eq(sorted(os.listdir(f"{HOME}/t")), ["sub"])
        os.symlink("/etc/passwd", f"{HOME}/t/link")
        o = copy(s, "from", here + "/back", "t", recursive=True)
        eq((o.status, len([line for line in o.lines if "note" in line])), (0, 1), o.out)
        eq(sorted(os.listdir(here + "/back")), ["sub"])
        # a link of ours inside the target is not followed to another folder
        os.makedirs(here + "/elsewhere")
        os.rmdir(here + "/back/sub")
        os.symlink(here + "/elsewhere", here + "/back/sub")
        write(f"{HOME}/t/sub/f", b"x")
        far("t2")
        os.rename(f"{HOME}/t", f"{HOME}/back")
        o = copy(s, "from", here, "back", recursive=True)
        assert o.status, o.out
        eq(os.listdir(here + "/elsewhere"), [])
        far("back")
        # one named by the user is
        write(here + "/f", b"linked")
        os.symlink("f", here + "/l")
        eq(copy(s, "to", here + "/l", "l").status, 0)
        eq(read(f"{HOME}/l"), b"linked")
        far("l")


def test_copy_big():
    data = os.urandom(60 * MIB)
    here = scratch("big")
    write(here + "/f", data)
    for sftp in (True, False):
        with Sshd([USER_PUBLIC], sftp=sftp) as s:
            far("big")
            o = copy(s, "to", here + "/f", "big")
            eq((o.status, o.last["bytes"], o.last["files"]), (0, len(data), 1), o.out[-500:])
            eq(sha(read(f"{HOME}/big")), sha(data))
            o = copy(s, "from", here + "/g", "big")
            eq((o.status, o.last["bytes"]), (0, len(data)))
            eq(sha(read(here + "/g")), sha(data))
            first = o.lines[0]
            eq((first["file"], first["total"]), ("big", len(data)), o.out[:300])
            os.unlink(here + "/g")
    far("big")


def test_copy_no_space():
    here = scratch("full")
    write(here + "/f", b"x" * 8 * MIB)
    write(far("big", b""), b"x" * 8 * MIB)
    for folder in (here + "/small", f"{HOME}/small"):
        os.makedirs(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", folder], check=True)
    try:
        for sftp in (True, False):
            with Sshd([USER_PUBLIC], sftp=sftp) as s:
                o = copy(s, "from", here + "/small/f", "big")
                eq(o.status, 7, o.out)
                has(o.last["error"]["desc"], "No space left")
                eq(os.listdir(here + "/small"), [])
                o = copy(s, "to", here + "/f", "small/f")
                eq(o.status, 6, o.out)
                has(o.last["error"]["desc"], "small/f")
                has(o.last["error"]["desc"].lower(), "no space left")
                far("small/f")
    finally:
        for folder in (here + "/small", f"{HOME}/small"):
            subprocess.run(["umount", folder], check=True)
        far("small")
        far("big")


def test_copy_interrupted():
    here = scratch("cut")
    write(far("big", b""), b"")
    os.truncate(f"{HOME}/big", 4000 * MIB)
    with Sshd([USER_PUBLIC]) as s:
        write(here + "/old", b"old content")
        for number in (signal.SIGTERM, signal.SIGINT):
            p = start("copy", remote(s, direction="from", local=here + "/old", remote="big"), stdout=subprocess.PIPE)
            p.stdout.readline()
            eq(len(os.listdir(here)), 2)
            p.send_signal(number)
            out = p.communicate(timeout=10 * SLOW)[0]
            eq(p.returncode, 128 + number, out)
            has(json.loads(out.splitlines()[-1])["error"]["desc"], "interrupted")
            eq(os.listdir(here), ["old"])
        eq(read(here + "/old"), b"old content")
        # a guest that stops in the middle
        p = start("copy", remote(s, direction="from", local=here + "/old", remote="big", stall_ms=int(1000 * SLOW)), stdout=subprocess.PIPE)
        p.stdout.readline()
        child = int(subprocess.run(["pgrep", "-n", "-u", "tester", "sshd"], capture_output=True, check=True).stdout.split()[0])
        os.kill(child, signal.SIGSTOP)
        out = p.communicate(timeout=20 * SLOW)[0]
        os.kill(child, signal.SIGKILL)
        eq(p.returncode, 8, out[-300:])
        eq(os.listdir(here), ["old"])
    far("big")


def test_copy_evil_scp():
    """A guest whose scp sends what nobody asked for."""
    ack = "ack() { dd bs=1 count=1 >/dev/null 2>&1; }\n"
    for text, part in (
        ("printf 'C0644 3 ../evil\\n'; ack; printf 'abc\\0'", "evil"),
        ("printf 'D0755 0 ..\\n'; ack; printf 'C0644 3 evil\\n'; ack; printf 'abc\\0'", ".."),
        ("printf 'D0755 0 d\\n'; ack; printf 'C0644 3 evil\\n'; ack; printf 'abc\\0'", "not asked for"),
        ("ack; printf 'C0644 3 f\\n'; ack; printf 'abc\\0'; ack; printf 'C0644 3 evil\\n'; ack; printf 'abc\\0'", "more than"),
        ("ack; printf 'E\\n'", "more than"),
        ("head -c 100000 /dev/zero | tr '\\0' C", "without an end"),
        ("printf 'C0644 -1 f\\n'", "no record"),
        ("printf 'C0644 99999999999999999999 f\\n'", "no record"),
        ("printf 'C0644 100 f\\n'; ack; printf abc", "in the middle"),
    ):
        here = scratch("evil")
        with Sshd([USER_PUBLIC], sftp=False, path=fake_path("evil-scp", scp=ack + text)) as s:
            far("evil")
            o = copy(s, "from", here + "/f", "f")
            assert o.status, (text, o.out)
            has(o.last["error"]["desc"], part)
            left = set(os.listdir(here)) - {"f"}
            assert not left and not os.path.exists(os.path.join(DIR, "evil", "evil")), left
