#!/usr/bin/env python3
"""Requests through a real Mosquitto and through the embedded broker, beside an echo responder on the same link.

Builds the release program and examples/load.rs, starts Mosquitto and two gateways on loopback in a temporary directory, and for each
number of devices and QoS runs echo, gateway and embedded broker one after the other. Prints the rates, the ratio of the gateway to the
echo, memory and sizes. Needs mosquitto (Debian packages mosquitto, mosquitto-clients). Usage: benches/load.py [--seconds N] [--rounds N]
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
CREDGATE = TARGET / "credgate"
LOAD = TARGET / "examples" / "load"
CLIENTS = 1_000
DEVICES = (1, 16, 64, 256)
NO_LIMITS = "overall-rate = 0\nclient-rate = 0\nhandshake-rate = 0\nhandshake-rate-per-address = 0\n"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, ready):
    for _ in range(600):
        if ready():
            return
        time.sleep(0.05)
    raise SystemExit(f"{what} did not come")


def rss(process):
    """Resident memory in KiB."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


class Bench:
    def __init__(self, directory, arguments):
        self.directory, self.arguments, self.processes = directory, arguments, []
        self.ports = {"mosquitto": free_port(), "embedded": free_port()}
        # What is measured is the gateway, not its limits.
        self.limits = NO_LIMITS

    def start(self, *command, log):
        stream = open(self.directory / log, "w")
        process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def credgate(self, name, *arguments):
        command = [CREDGATE, *arguments, "--config", self.directory / f"{name}.toml"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def configure(self):
        at = self.directory
        common = 'state-directory = "{at}/{name}"\ncontrol-socket = "{at}/{name}.sock"\n[log]\nlevel = "warn"\n'
        common += "[limits]\n" + self.limits
        (at / "gateway.password").write_text("gateway")
        (at / "gateway.password").chmod(0o600)
        (at / "embedded.toml").write_text(
            common.format(at=at, name="embedded") + f'[embedded-broker]\nlisten = ["127.0.0.1:{self.ports["embedded"]}"]\n'
        )
        (at / "mosquitto.toml").write_text(
            common.format(at=at, name="mosquitto")
            + f'[embedded-broker]\nenabled = false\n[broker]\nurl = "mqtts://localhost:{self.ports["mosquitto"]}"\ntrusted = true\n'
            + f'ca-file = "{at}/embedded/tls/ca.crt"\nusername = "credgate"\npassword-file = "{at}/gateway.password"\n'
        )
        self.credgate("embedded", "init", "--name", "localhost", "--name", "127.0.0.1")
        self.credgate("mosquitto", "init")
        tls = at / "embedded" / "tls"
        (at / "acl").write_text(
            "user credgate\ntopic readwrite oauth2/v1/#\nuser echo\ntopic readwrite echo/v1/#\n"
            "pattern readwrite oauth2/v1/client/%u/#\npattern readwrite echo/v1/client/%u/#\npattern read oauth2/v1/as/#\n"
        )
        (at / "mosquitto.conf").write_text(
            f"user root\nlistener {self.ports['mosquitto']} 127.0.0.1\ncafile {tls}/ca.crt\ncertfile {tls}/broker.crt\nkeyfile {tls}/broker.key\n"
            f"allow_anonymous false\npassword_file {at}/passwords\nacl_file {at}/acl\nset_tcp_nodelay true\npersistence false\nlog_type error\n"
        )

    def register(self, name):
        self.credgate(name, "resource-server", "add", "telemetry", "--audience", "https://telemetry.example")
        permission = "pub telemetry/{client_id}/#"
        self.credgate(name, "scope", "add", "telemetry:write", "--resource-server", "telemetry", "--permission", permission)
        secrets = {}
        for number in range(CLIENTS):
            client = f"device-{number}"
            answer = self.credgate(name, "client", "add", client, "--scope", "telemetry:write", "--output", "json")
            secrets[client] = json.loads(answer)["client_secret"]
        file = self.directory / f"{name}.secrets"
        file.touch(0o600)
        file.write_text("".join(f"{client} {secret}\n" for client, secret in secrets.items()))
        return secrets

    def passwords(self, secrets):
        echo = self.directory / "echo.secrets"
        echo.touch(0o600)
        echo.write_text("echo echo\n")
        users = {"credgate": "gateway", "echo": "echo", **{client: secrets[client] for client in list(secrets)[: max(DEVICES)]}}
        file = self.directory / "passwords"
        file.write_text("".join(f"{user}:{password}\n" for user, password in users.items()))
        file.chmod(0o600)
        subprocess.run([shutil.which("mosquitto_passwd"), "-U", file], check=True)

    def load(self, broker, mode, devices, qos, seconds, *more):
        name = "embedded" if broker == "embedded" else "mosquitto"
        command = [LOAD, "--host", "localhost", "--port", str(self.ports[broker]), "--ca-file", self.directory / "embedded/tls/ca.crt"]
        command += ["--secrets-file", self.directory / f"{name}.secrets", "--devices", str(devices), "--qos", str(qos), "--mode", mode]
        command += ["--seconds", str(seconds), "--topic-prefix", "echo/v1" if mode == "echo" else "oauth2/v1"]
        command += more
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        return json.loads(done.stdout.strip().splitlines()[-1])

    def run(self):
        self.configure()
        mosquitto = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        gateways = {}
        for name in ("embedded", "mosquitto"):
            secrets = self.register(name)
            if name == "mosquitto":
                self.passwords(secrets)
                self.start(mosquitto, "-c", self.directory / "mosquitto.conf", log="mosquitto.log")
        self.empty_rss()
        for name in ("embedded", "mosquitto"):
            gateways[name] = self.start(CREDGATE, "serve", "--config", self.directory / f"{name}.toml", log=f"{name}.log")
            wait_for("a gateway", lambda name=name: self.is_up(name))
        full = {name: rss(process) for name, process in gateways.items()}
        print(f"RSS with {CLIENTS} clients: embedded broker {full['embedded']} KiB, link to Mosquitto {full['mosquitto']} KiB")
        echo = [LOAD, "--host", "localhost", "--port", str(self.ports["mosquitto"]), "--ca-file", self.directory / "embedded/tls/ca.crt"]
        echo += ["--secrets-file", self.directory / "echo.secrets", "--role", "echo", "--topic-prefix", "echo/v1"]
        self.start(*echo, log="echo.log")
        time.sleep(1)
        print(f"{'devices':>8} {'QoS':>4} {'echo/s':>9} {'gateway/s':>10} {'ratio':>7} {'p99 ms':>7} {'embedded/s':>11} {'p99 ms':>7}")
        for qos in (0, 1):
            for devices in DEVICES:
                rounds = []
                for _ in range(self.arguments.rounds):
                    seconds = self.arguments.seconds
                    rounds.append(
                        [
                            self.load("mosquitto", "echo", devices, qos, seconds),
                            self.load("mosquitto", "token", devices, qos, seconds),
                            self.load("embedded", "token", devices, qos, seconds),
                        ]
                    )
                self.report(devices, qos, rounds)
        after = {name: rss(process) for name, process in gateways.items()}
        print(f"RSS after the load: embedded broker {after['embedded']} KiB, link to Mosquitto {after['mosquitto']} KiB")
        print(f"stripped release program: {CREDGATE.stat().st_size} bytes")

    def report(self, devices, qos, rounds):
        rate = lambda index: statistics.median(one[index]["requests_per_second"] for one in rounds)
        ratio = statistics.median(one[1]["requests_per_second"] / one[0]["requests_per_second"] for one in rounds)
        p99 = lambda index: statistics.median(one[index]["p99_us"] / 1000 for one in rounds)
        errors = sum(sum(one[index]["errors"].values()) for one in rounds for index in range(3))
        print(
            f"{devices:>8} {qos:>4} {rate(0):>9.0f} {rate(1):>10.0f} {100 * ratio:>6.1f}% {p99(1):>7.1f} {rate(2):>11.0f} {p99(2):>7.1f}"
            + (f"  {errors} errors" if errors else ""),
            flush=True,
        )

    def empty_rss(self):
        """A gateway without clients, for comparison."""
        at, port = self.directory, free_port()
        text = (at / "embedded.toml").read_text().replace(f"{at}/embedded", f"{at}/empty").replace(str(self.ports["embedded"]), str(port))
        (at / "empty.toml").write_text(text)
        self.credgate("empty", "init", "--name", "localhost")
        process = self.start(CREDGATE, "serve", "--config", at / "empty.toml", log="empty.log")
        wait_for("a gateway", lambda: self.is_up("empty"))
        threads = len(list(pathlib.Path(f"/proc/{process.pid}/task").iterdir()))
        print(f"RSS at start, without clients: {rss(process)} KiB, {threads} threads")
        process.terminate()
        process.wait()

    def is_up(self, name):
        command = [CREDGATE, "status", "--output", "json", "--config", self.directory / f"{name}.toml"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            return False
        status = json.loads(done.stdout)
        return status["broker"]["state"] == "up" if name == "mosquitto" else True

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.wait()


def run(kind, arguments):
    """Builds what is measured, and measures it in a directory of its own."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "credgate", "--example", "load"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="credgate-bench-") as directory:
        bench = kind(pathlib.Path(directory), arguments)
        try:
            bench.run()
        finally:
            bench.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="seconds measured in a run")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each run; the median counts")
    arguments = parser.parse_args()
    run(Bench, arguments)


if __name__ == "__main__":
    main()
