"""Others who move files between two machines: how each is started, and one copy by it.

Decides: their servers, keys and options. Does not know: p2pchat, rounds, tables.

Every copy is a whole command from its start to its exit, as for p2pchat; servers run before. Ciphers are the
quickest each has on hardware with AES: aes128-gcm for ssh; for TLS both that and ChaCha20-Poly1305 are run.
Nothing is compressed, and nobody syncs what was written, which p2pchat does: on tmpfs that costs nothing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.contests import wait_port
from tests.bench.rivals import Rivals
from tests.bench.workers import Worker, WorkerFailed, python_module
from tests.kit.netns import Host

CIPHER = "aes128-gcm@openssh.com"
SSH_PORT = 2222
SUITES = {8443: "TLS_AES_128_GCM_SHA256", 8444: "TLS_CHACHA20_POLY1305_SHA256"}
COPY_S = 300.0
SYNC_KEY = "bench"

NEEDS = {
    "ssh": ("tool:sshd", "tool:ssh", "tool:ssh-keygen"),
    "rsync": ("tool:sshd", "tool:ssh", "tool:ssh-keygen", "tool:rsync"),
    "nginx": ("tool:nginx", "tool:curl", "tool:openssl"),
    "wormhole": ("python:wormhole", "python:wormhole_mailbox_server", "python:wormhole_transit_relay"),
    "syncthing": ("tool:syncthing",),
}

SSHD = """
Port {port}
ListenAddress {ip}
HostKey {folder}/host
AuthorizedKeysFile {folder}/allowed
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile {folder}/pid
Subsystem sftp internal-sftp
MaxStartups 100
"""
NGINX = """
user root; worker_processes 1; pid {folder}/pid; error_log {folder}/errors; daemon off; master_process off;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; ssl_buffer_size 16k;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {servers}
}}
"""
SERVER = """server {{
  listen {ip}:{port} ssl; ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
  ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites {suite}; root {root}; keepalive_requests 1000000; }}
"""


@dataclass
class Field:
    """Where files are moved: from `source` on `here` to `target` on `there`."""

    here: Host
    there: Host
    source: Path
    target: Path
    folder: Path
    rivals: Rivals
    stack: ExitStack
    began: dict[str, Path] = field(default_factory=dict)
    """Servers that run, and the folder of each."""

    def clean(self) -> None:
        """An empty target."""
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir()

    def _server(self, name: str) -> tuple[Path, bool]:
        """Its folder, and whether it has to be started."""
        known = name in self.began
        place = self.began.setdefault(name, self.folder / name)
        if not known:
            place.mkdir()
        return place, not known

    def timed(self, host: Host, command: str) -> float:
        """Seconds of one shell command."""
        began = time.perf_counter()
        done = host.run("sh", "-c", command, timeout=COPY_S)
        took = time.perf_counter() - began
        if done.returncode:
            raise WorkerFailed(f"{command[:200]}: {done.stdout}{done.stderr}")
        return took

    # -- local, and a bare socket ------------------------------------------------------------

    def local(self, what: Path) -> float:
        """cp -r on the same file system."""
        return self.timed(self.here, f"cp -r {what} {self.target}/")

    def plain(self, what: Path) -> float:
        """One file over one TCP connection, from connect to the last byte written."""
        with ExitStack() as stack:
            module = "tests.bench.raw_copy"
            giving = python_module(module, "give", what, self.here.ip)
            giver = stack.enter_context(Worker(self.here, giving, self.folder))
            port = giver.hear("port")
            taking = python_module(module, "take", self.target / what.name, self.here.ip, port)
            taker = stack.enter_context(Worker(self.there, taking, self.folder))
            took: float = taker.hear("seconds", COPY_S)
        return took

    # -- ssh ---------------------------------------------------------------------------------

    def _ssh(self) -> tuple[str, str]:
        """(options with the key, user and host); the server is started the first time."""
        place, fresh = self._server("ssh")
        if fresh:
            for name in ("host", "user"):
                _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name)
            shutil.copy(place / "user.pub", place / "allowed")
            config = place / "config"
            config.write_text(SSHD.format(port=SSH_PORT, ip=self.there.ip, folder=place), encoding="ascii")
            Path("/run/sshd").mkdir(exist_ok=True)
            sshd = shutil.which("sshd") or "sshd"
            self.stack.enter_context(Worker(self.there, [sshd, "-D", "-e", "-f", str(config)], place))
            wait_port(self.here, self.there.ip, SSH_PORT)
        known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        return f"-i {place}/user {known} -c {CIPHER}", f"root@{self.there.ip}"

    def pipe(self, what: Path) -> float:
        """cat, or tar of a folder, through ssh."""
        options, host = self._ssh()
        ssh = f"ssh -p {SSH_PORT} {options} {host}"
        if what.is_dir():
            tar = f"tar -C {what.parent} -cf - {what.name}"
            return self.timed(self.here, f"{tar} | {ssh} 'tar -C {self.target} -xf -'")
        return self.timed(self.here, f"{ssh} 'cat > {self.target / what.name}' < {what}")

    def scp(self, what: Path) -> float:
        options, host = self._ssh()
        return self.timed(self.here, f"scp -rq -P {SSH_PORT} {options} {what} {host}:{self.target}/")

    def rsync(self, what: Path) -> float:
        """Whole files, nothing compared."""
        options, host = self._ssh()
        ssh = f"ssh -p {SSH_PORT} {options}"
        return self.timed(self.here, f"rsync -aW --inplace -e '{ssh}' {what} {host}:{self.target}/")

    # -- HTTPS -------------------------------------------------------------------------------

    def _nginx(self) -> Path:
        place, fresh = self._server("nginx")
        if fresh:
            pem = ("-keyout", place / "key.pem", "-out", place / "certificate.pem")
            curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
            _run("openssl", "req", "-x509", *curve, "-nodes", "-days", "2", "-subj", "/CN=bench", *pem)
            servers = "".join(
                SERVER.format(ip=self.here.ip, port=port, folder=place, suite=suite, root=self.source)
                for port, suite in SUITES.items()
            )
            config = place / "config"
            config.write_text(NGINX.format(folder=place, servers=servers), encoding="ascii")
            nginx = shutil.which("nginx") or "nginx"
            self.stack.enter_context(Worker(self.here, [nginx, "-c", str(config)], place))
            wait_port(self.there, self.here.ip, max(SUITES))
        return place

    def serve(self) -> None:
        """Offer the source by HTTPS from now on."""
        self._nginx()

    def https(self, what: Path, port: int) -> float:
        """curl fetches it; of a folder each file, six connections at once, folders made before."""
        place, base = self._nginx(), f"https://{self.here.ip}:{port}"
        if not what.is_dir():
            return self.timed(self.there, f"curl -sk -o {self.target / what.name} {base}/{what.name}")
        urls = place / f"urls{port}"
        lines = []
        for path in what.rglob("*"):
            relative = path.relative_to(self.source)
            if path.is_dir():
                (self.target / relative).mkdir(parents=True)
            else:
                lines.append(f'url = "{base}/{relative}"\noutput = "{self.target / relative}"\n')
        urls.write_text("".join(lines), encoding="ascii")
        return self.timed(self.there, f"curl -sk --parallel --parallel-max 6 --config {urls}")

    # -- magic-wormhole ----------------------------------------------------------------------

    def wormhole(self, what: Path) -> float:
        """Through a mailbox of its own, the bytes directly; a folder is zipped first, as it does."""
        place, fresh = self._server("wormhole")
        ip = self.there.ip
        if fresh:
            twist = self.rivals.program("twist")
            box = ["wormhole-mailbox", f"--port=tcp:4000:interface={ip}", f"--channel-db={place}/db"]
            relay = ["transitrelay", f"--port=tcp:4001:interface={ip}"]
            for words in (box, relay):
                self.stack.enter_context(Worker(self.there, [twist, *words], place))
            wait_port(self.here, ip, 4000)
            wait_port(self.here, ip, 4001)
        tool = [self.rivals.program("wormhole"), "--relay-url", f"ws://{ip}:4000/v1"]
        tool += ["--transit-helper", f"tcp:{ip}:4001"]
        code = f"{time.monotonic_ns() % 1000}-alpha-beta"
        began = time.perf_counter()
        sending = self.here.popen(*tool, "send", "--no-qr", "--hide-progress", "--code", code, what)
        try:
            target = self.target / what.name
            receive = ("receive", "--accept-file", "--hide-progress", "-o", target, code)
            done = self.there.run(*tool, *receive, cwd=self.target, timeout=COPY_S)
            took = time.perf_counter() - began
            if done.returncode or sending.wait(30):
                raise WorkerFailed(f"wormhole: {done.stdout}{done.stderr}")
        finally:
            if sending.poll() is None:
                sending.kill()
        return took

    # -- syncthing ---------------------------------------------------------------------------

    def syncthing(self, what: Path) -> float:
        """From "scan now" at the sender until all files lie at the receiver; folders of its own."""
        place, fresh = self._server("syncthing")
        homes = [place / "a", place / "b"]
        hosts = [self.here, self.there]
        if fresh:
            self._start_syncthing(homes, hosts)
        synced = [home / "synced" for home in homes]
        copy = synced[0] / what.name
        _run("cp", "-r", what, copy)
        wanted = sum(one.is_file() for one in what.rglob("*")) if what.is_dir() else 1
        size = what.stat().st_size
        arrived = synced[1] / what.name

        def whole() -> bool:
            if not what.is_dir():
                return arrived.exists() and arrived.stat().st_size == size
            names = [one.name for one in arrived.rglob("*") if one.is_file()] if arrived.is_dir() else []
            return sum(not name.startswith(".syncthing") for name in names) == wanted

        began = time.perf_counter()
        self._api(self.here, "POST", "/rest/db/scan?folder=s")
        _until(whole, "syncthing does not get on")
        took = time.perf_counter() - began
        for side in synced:
            (shutil.rmtree if what.is_dir() else Path.unlink)(side / what.name)
        for host in hosts:
            self._api(host, "POST", "/rest/db/scan?folder=s")
        return took

    def _start_syncthing(self, homes: list[Path], hosts: list[Host]) -> None:
        for home in homes:
            _run("syncthing", "generate", f"--home={home}", "--no-default-folder", "--skip-port-probing")
            (home / "synced").mkdir()
        ids = [_run("syncthing", f"--home={home}", "--device-id").strip() for home in homes]
        for number, (home, host) in enumerate(zip(homes, hosts, strict=True)):
            (home / "config.xml").write_text(_syncthing_config(number, home, ids, hosts), encoding="utf-8")
            argv = ["syncthing", f"--home={home}", "--no-browser", "--no-restart", "--no-upgrade"]
            self.stack.enter_context(Worker(host, [*argv, f"--logfile={home}/log"], home))

        def linked() -> bool:
            try:
                found = json.loads(self._api(self.here, "GET", "/rest/system/connections"))
            except (WorkerFailed, ValueError):
                return False
            return bool(found["connections"].get(ids[1], {}).get("connected"))

        _until(linked, "syncthing does not connect")

    def _api(self, host: Host, verb: str, path: str) -> str:
        words = ("curl", "-sf", "-X", verb, "-H", f"X-API-Key: {SYNC_KEY}", f"http://127.0.0.1:8384{path}")
        done = host.run(*words)
        if done.returncode:
            raise WorkerFailed(f"syncthing: {path}: {done.returncode}")
        return done.stdout


def _syncthing_config(number: int, home: Path, ids: list[str], hosts: list[Host]) -> str:
    root = ElementTree.Element("configuration", version="35")
    kind = ("sendonly", "receiveonly")[number]
    flags = {"rescanIntervalS": "3600", "fsWatcherEnabled": "false", "type": kind}
    folder = ElementTree.SubElement(root, "folder", id="s", label="s", path=str(home / "synced"), **flags)
    for name, text in (("minDiskFree", "0"), ("disableFsync", "true")):
        ElementTree.SubElement(folder, name).text = text
    for other, ident in enumerate(ids):
        ElementTree.SubElement(folder, "device", id=ident)
        device = ElementTree.SubElement(root, "device", id=ident, name=str(other), compression="never")
        address = "dynamic" if other == number else f"tcp://{hosts[other].ip}:22000"
        ElementTree.SubElement(device, "address").text = address
    gui = ElementTree.SubElement(root, "gui", enabled="true", tls="false")
    ElementTree.SubElement(gui, "address").text = "127.0.0.1:8384"
    ElementTree.SubElement(gui, "apikey").text = SYNC_KEY
    chosen = ElementTree.SubElement(root, "options")
    off = ("globalAnnounce", "localAnnounce", "relays", "nat")
    texts = {f"{name}Enabled": "false" for name in off} | {"urAccepted": "-1", "startBrowser": "false"}
    texts |= {"crashReportingEnabled": "false", "autoUpgradeIntervalH": "0", "reconnectionIntervalS": "1"}
    for name, text in (texts | {"listenAddress": f"tcp://{hosts[number].ip}:22000"}).items():
        ElementTree.SubElement(chosen, name).text = text
    return ElementTree.tostring(root, encoding="unicode")


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + COPY_S
    while not holds():
        if time.monotonic() > deadline:
            raise WorkerFailed(otherwise)
        time.sleep(0.02)  # real processes: no clock to hand in


def _run(*words: object) -> str:
    argv = [str(word) for word in words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise WorkerFailed(f"{' '.join(argv)[:120]}: {done.stdout}{done.stderr}")
    return done.stdout
