"""Agents, dropbear, and what must not matter."""

import os
import shutil
import socket
import subprocess
import time

from harness import *  # noqa: F403: the tests' own small language
from servers import *  # noqa: F403


def test_agent():
    socket_path = os.path.join(DIR, "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL)
    env = {"SSH_AUTH_SOCK": socket_path}
    try:
        wait_for(lambda: os.path.exists(socket_path))
        subprocess.run(["ssh-add", "-q", USER_KEY], env=dict(os.environ, **env), check=True)
        with Sshd([USER_PUBLIC]) as s:
            for keys in ([], [OTHER_KEY]):
                eq(run("exec", remote(s, command="exit 3", identities=keys, agent=True), env=env).status, 3)
            o = run("exec", remote(s, command="exit 3", identities=[]), env=env)
            eq(o.status, 255)
    finally:
        agent.terminate()
        agent.wait()


def test_agent_that_hangs():
    path = os.path.join(DIR, "hanging-agent")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(10)
    with Sshd([USER_PUBLIC]) as s:
        env = {"SSH_AUTH_SOCK": path}
        o = run("exec", remote(s, command="true", identities=[], agent=True, connect_ms=1000), env=env)
        eq(o.status, 255)
        soon(o, 8)
        o = run("climb", remote(s, rungs=["login"], identities=[], agent=True, total_ms=1000), env=env)
        eq((o.status, o.last["error"]["class"]), (8, "timeout"))
    listener.close()


def test_dropbear():
    with Dropbear([USER_PUBLIC]) as s:
        o = climb(s, ALL, probes=["test -d /"], total=20000)
        eq(o.status, 0, o.out)
        has(o.lines[1]["detail"], "dropbear")
        for command, status in (("exit 3", 3), ("kill -TERM $$", 143)):
            eq(execute(s, command).status, status)
        data = os.urandom(20 * MIB)
        o = execute(s, "cat; echo end", stdin=data)
        eq(sha(o.out), sha(data + b"end\n"))
        t = Terminal(s, "stty size; exit 7", pty=True)
        t.expect(b"33 101")
        t.end(7)
        here = os.path.join(DIR, "tree")
        tree(here, ODD)
        eq(copy(s, "to", here, "t", recursive=True).status, 0)
        same(here, f"{HOME}/t")
        back = scratch("back")
        eq(copy(s, "from", back, "t", recursive=True).status, 0)
        same(here, back + "/t")
        far("t")
        wrong = keygen("impostor")[1]
        s.host_key, right = wrong, s.host_key
        has(execute(s, "true").err.decode(), "mismatch")
        s.host_key = right
        has(execute(s, "true", identities=[OTHER_KEY]).err.decode(), "refused")


def test_callers_configuration():
    """Nothing in the caller's ~/.ssh or in /etc/ssh/ssh_config matters."""
    home = scratch("caller")
    os.makedirs(home + "/.ssh")
    touched = os.path.join(DIR, "touched")
    # each line of these would be noticed: by a file, or by a key exchange that fails
    config = f"Host *\nProxyCommand touch {touched}\nUser root\nPort 1\nCiphers 3des-cbc\nMACs hmac-sha1\n"
    write(home + "/.ssh/config", config.encode())
    system = "/etc/ssh/ssh_config"  # ours alone: t_ssh.sh runs on a copy of /etc
    before = read(system)
    write(system, config.encode())
    try:
        with Sshd([USER_PUBLIC]) as s:
            wrong = keygen("impostor")[1]
            write(home + "/.ssh/known_hosts", f"[127.0.0.1]:{s.port} {wrong}\n".encode())
            shutil.copy(OTHER_KEY, home + "/.ssh/id_ed25519")
            o = execute(s, "id -un")
            eq((o.out, o.err), (b"tester\n", b""))
            eq(sorted(os.listdir(home + "/.ssh")), ["config", "id_ed25519", "known_hosts"])
        with Sshd([OTHER_PUBLIC]) as s:
            eq(execute(s, "true").status, 255)
        assert not os.path.exists(touched)
    finally:
        write(system, before)


def test_nothing_secret_in_view():
    with Sshd([USER_PUBLIC]) as s:
        p = start("exec", remote(s, command="sleep 5", identities=[read(USER_KEY).decode()]), stdin=subprocess.DEVNULL)
        time.sleep(1)
        for name in ("cmdline", "environ"):
            assert b"PRIVATE KEY" not in read(f"/proc/{p.pid}/{name}")
        p.terminate()
        p.wait(10 * SLOW)
