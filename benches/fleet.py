#!/usr/bin/env python3
"""A fleet of clients from CSV through `credgate apply`, on a gateway that runs: time and peak memory of both processes.

Builds the release program, starts a gateway on loopback in a temporary directory, and applies the file, applies it again, with one member of
each client changed, and without most of the clients. A device's token request is timed all the while. Usage: benches/fleet.py [--clients N]
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CREDGATE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "credgate"
POLICY = """
[[resource_servers]]
id = "telemetry"
audience = "https://telemetry.example"
[[scopes]]
name = "telemetry:write"
resource_server = "telemetry"
permissions = ["pub telemetry/{site}/{client_id}/#"]
[[roles]]
name = "pump"
scope = ["telemetry:write"]
[[clients]]
client_id = "probe"
roles = ["pump"]
attributes = { site = "berlin" }
"""


def wait_for(what, ready):
    for _ in range(600):
        if ready():
            return
        time.sleep(0.05)
    raise SystemExit(f"{what} did not come")


def status_of(pid, name):
    """A line of /proc/PID/status in KiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def fleet(path, count, site):
    with open(path, "w") as file:
        file.write("client_id,client_name,roles,attribute.site,software_id\nprobe,,pump,berlin,\n")
        for number in range(count):
            file.write(f"pump-{number:06},Pump {number},pump,{site},pump-firmware\n")


class Bench:
    def __init__(self, directory):
        self.at = directory
        (directory / "c.toml").write_text(
            f'state-directory = "{directory}/state"\ncontrol-socket = "{directory}/sock"\n[log]\nlevel = "warn"\n'
            '[embedded-broker]\nlisten = ["127.0.0.1:0"]\n'
        )
        self.run("init", "--name", "localhost")
        self.log = open(directory / "log", "w")
        self.daemon = subprocess.Popen([CREDGATE, "serve", "--config", directory / "c.toml"], stdout=self.log, stderr=self.log)
        wait_for("the gateway", lambda: subprocess.run(self.command("status"), capture_output=True).returncode == 0)

    def command(self, *arguments):
        return [CREDGATE, *arguments, "--config", self.at / "c.toml"]

    def run(self, *arguments):
        return subprocess.run(self.command(*arguments), check=True, capture_output=True, text=True).stdout

    def apply(self, name, *arguments):
        """Applies and prints a line of the table."""
        pathlib.Path(f"/proc/{self.daemon.pid}/clear_refs").write_text("5")
        before = status_of(self.daemon.pid, "VmRSS")
        begun = time.monotonic()
        process = subprocess.Popen(self.command("apply", "--output", "json", "--limit", "1", *arguments), stdout=subprocess.PIPE)
        document = json.loads(process.stdout.read())
        _, code, usage = os.wait4(process.pid, 0)
        took = time.monotonic() - begun
        if code:
            raise SystemExit(f"apply ended with {code}")
        counts = document["counts"]["client"]
        told = ", ".join(f"{counts[word]:,} {word}" for word in ("added", "changed", "removed", "unchanged") if counts[word])
        peak, after = status_of(self.daemon.pid, "VmHWM"), status_of(self.daemon.pid, "VmRSS")
        megabytes = [f"{kib / 1024:.0f} MiB" for kib in (usage.ru_maxrss, before, peak, after)]
        print(f"| {name} | {told} | {took:.1f} s | {' | '.join(megabytes)} |", flush=True)

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()


class Probe(threading.Thread):
    """Has tokens issued one after the other, and keeps how long each took."""

    def __init__(self, bench):
        super().__init__(daemon=True)
        self.bench, self.took, self.ended = bench, [], False

    def run(self):
        status = json.loads(self.bench.run("status", "--output", "json"))
        port = status["embedded_broker"]["addresses"][0].rsplit(":", 1)[1]
        command = [CREDGATE, "device", "token", "--broker", f"mqtts://localhost:{port}", "--ca-file", self.bench.at / "state/tls/ca.crt"]
        command += ["--client-id", "probe", "--secret-file", self.bench.at / "probe/probe.secret"]
        while not self.ended:
            begun = time.monotonic()
            subprocess.run(command, check=True, capture_output=True)
            self.took.append(time.monotonic() - begun)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=100_000)
    count = parser.parse_args().clients
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="credgate-fleet-") as name:
        at = pathlib.Path(name)
        bench = Bench(at)
        (at / "policy.toml").write_text(POLICY)
        bench.run("apply", "-f", str(at / "policy.toml"), "--secrets-directory", str(at / "probe"))
        for file, size, site in (("fleet.csv", count, "berlin"), ("moved.csv", count, "oslo"), ("few.csv", count // 100, "oslo")):
            fleet(at / file, size, site)
        probe = Probe(bench)
        probe.start()
        print("| | clients | time | peak of apply | gateway before | its peak | after |\n|---|---|---|---|---|---|---|")
        bench.apply("new", "-f", str(at / "fleet.csv"), "--secrets-file", str(at / "secrets"))
        bench.apply("the same again", "-f", str(at / "fleet.csv"))
        bench.apply("an attribute of each", "-f", str(at / "moved.csv"))
        bench.apply("--prune", "-f", str(at / "policy.toml"), "-f", str(at / "few.csv"), "--prune", "--yes")
        probe.ended = True
        probe.join()
        took = sorted(probe.took)
        print(f"\n{len(took)} token requests meanwhile, each with a process and a connection of its own: median {took[len(took) // 2] * 1000:.0f} ms, slowest {took[-1] * 1000:.0f} ms")
        size = sum(file.stat().st_size for file in (at / "state/registry").rglob("*") if file.is_file())
        print(f"registry on disk: {size / 2**20:.0f} MiB")
        begun = time.monotonic()
        bench.stop()
        print(f"stop: {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
