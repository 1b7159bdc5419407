"""Servers for the tests of roost-ssh: real ones with a configuration of their own, and fakes."""

import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

DIR = os.environ["ROOST_SSH_TEST_DIR"]
HOME = os.path.join(DIR, "home")
# whatever the tests wait for takes longer on a slow machine or under a sanitizer
SLOW = float(os.environ.get("E2E_PATIENCE") or 1)
_ports = iter(range(2200, 4000))


def keygen(name, passphrase=""):
    """An ed25519 key made by OpenSSH: its path and the text of its public part."""
    path = os.path.join(DIR, name)
    if not os.path.exists(path):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    with open(path + ".pub") as f:
        return path, f.read().strip()


def wait_listening(port, seconds=10):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on {port}")


class Server:
    """What all have: a port, the host key's text, close()."""

    def __init__(self):
        self.port = next(_ports)
        self.host_key = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Daemon(Server):
    process = None

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(10 * SLOW)


class Sshd(Daemon):
    """OpenSSH. `login`: public keys that may log in. `path`: the PATH of commands."""

    def __init__(self, login, sftp=True, path="/usr/bin:/bin", host_key="host", extra="", pam=False):
        super().__init__()
        key, self.host_key = keygen(host_key)
        name = os.path.join(DIR, f"sshd-{self.port}")
        with open(name + ".keys", "w") as f:
            f.write("".join(k + "\n" for k in login))
        with open(name + ".conf", "w") as f:
            f.write(
                f"""ListenAddress 127.0.0.1:{self.port}
HostKey {key}
AuthorizedKeysFile {name}.keys
PidFile none
UsePAM {"yes" if pam else "no"}
StrictModes no
PasswordAuthentication {"no" if pam else "yes"}
KbdInteractiveAuthentication {"yes" if pam else "no"}
SetEnv PATH={path}
AcceptEnv ROOST_*
MaxStartups 100
LogLevel VERBOSE
{"Subsystem sftp internal-sftp" if sftp else ""}
{extra}
"""
            )
        self.log = open(name + ".log", "w")
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", name + ".conf"], stderr=self.log, stdin=subprocess.DEVNULL
        )
        wait_listening(self.port)


class Dropbear(Daemon):
    def __init__(self, login):
        super().__init__()
        key, self.host_key = keygen("host")
        native = os.path.join(DIR, "dropbear.key")
        subprocess.run(["dropbearconvert", "openssh", "dropbear", key, native], check=True, capture_output=True)
        folder = os.path.join(HOME, ".ssh")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(os.path.join(folder, "authorized_keys"), "w") as f:
            f.write("".join(k + "\n" for k in login))
        for path in (folder, os.path.join(folder, "authorized_keys")):
            os.chown(path, 54321, 54321)
        os.chmod(os.path.join(folder, "authorized_keys"), 0o600)
        self.process = subprocess.Popen(
            ["/usr/sbin/dropbear", "-F", "-E", "-r", native, "-p", f"127.0.0.1:{self.port}", "-P", ""],
            stderr=open(os.path.join(DIR, "dropbear.log"), "w"),
            stdin=subprocess.DEVNULL,
        )
        wait_listening(self.port)

    def close(self):
        super().close()
        shutil.rmtree(os.path.join(HOME, ".ssh"), ignore_errors=True)


class Fake(Server):
    """Each connection runs `talk(sock)` in a thread. Knows how many there were."""

    def __init__(self, talk):
        super().__init__()
        self.connections = 0
        self.talk = talk
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        try:
            self.talk(sock)
        except OSError:
            pass
        finally:
            sock.close()

    def close(self):
        # wakes the thread in accept(), which could else go on with the next listener that gets this number
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def until_closed(sock, seconds=30):
    """Holds a connection and reads what comes, without a word."""
    sock.settimeout(seconds)
    while sock.recv(65536):
        pass


def forward(sock, port):
    """Passes everything between a connection and a port."""
    with socket.create_connection(("127.0.0.1", port)) as other:
        pair = {sock: other, other: sock}
        while True:
            for side in select.select(list(pair), [], [])[0]:
                data = side.recv(65536)
                if not data:
                    return
                pair[side].sendall(data)
