#!/usr/bin/env python3
"""Honest devices beside an attacker who sends ten times what the gateway can answer: their latency, and what the attacker gets.

Builds the release program and examples/load.rs, and starts Mosquitto and two gateways on loopback in a temporary directory. Measures what the
gateways can answer without limits (the capacity), starts them again with an overall limit of two thirds of that and the other defaults, and
then, for the link to Mosquitto and for the embedded broker, has honest devices ask ten times a second alone, and beside an attacker: a
registered client that publishes requests at ten times the capacity without waiting for answers. Prints the honest devices' p99 in both, the
ratio, how many of theirs were sent away, and the counters of the gateway. Needs mosquitto and mosquitto-clients.
Usage: benches/flood.py [--seconds N]
"""

import argparse
import json
import shutil
import subprocess
import sys
import time

from load import CREDGATE, NO_LIMITS, Bench, rss, run, wait_for

HONEST = 16
ATTACKER = "device-255"
PUMP = """
import sys, time
line, rate, started, sent = sys.argv[1] + "\\n", float(sys.argv[2]), time.monotonic(), 0
while True:
    due = int((time.monotonic() - started) * rate) - sent
    sys.stdout.write(line * due)
    sys.stdout.flush()
    sent += due
    time.sleep(0.005)
"""


class Flood(Bench):
    def counters(self, name):
        status = json.loads(self.credgate(name, "status", "--output", "json"))
        return status["embedded_broker" if name == "embedded" else "broker"]["counters"]

    def serve(self, name):
        process = self.start(CREDGATE, "serve", "--config", self.directory / f"{name}.toml", log=f"{name}.log")
        wait_for("a gateway", lambda: self.is_up(name))
        return process

    def honest(self, name):
        done = self.load(name, "token", HONEST, 1, self.arguments.seconds, "--pause", "100")
        return done["p99_us"] / 1000, done["requests_per_second"], sum(done["errors"].values())

    def attack(self, name, secret, rate):
        """Two processes: one makes lines, the other publishes each of them at once."""
        request = json.dumps({"grant_type": "client_credentials", "client_secret": secret})
        publisher = ["mosquitto_pub", "-h", "localhost", "-p", str(self.ports[name]), "--cafile", self.directory / "embedded/tls/ca.crt"]
        publisher += ["-V", "5", "-i", ATTACKER, "-u", ATTACKER, "-P", secret, "-q", "0", "-l"]
        publisher += ["-t", f"oauth2/v1/client/{ATTACKER}/token/json"]
        publisher = subprocess.Popen(publisher, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pump = subprocess.Popen([sys.executable, "-c", PUMP, request, str(rate)], stdout=publisher.stdin, stderr=subprocess.DEVNULL)
        self.processes += [publisher, pump]
        return pump, publisher

    def run(self):
        self.configure()
        secrets = {name: self.register(name) for name in ("embedded", "mosquitto")}
        self.passwords(secrets["mosquitto"])
        self.start(shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", self.directory / "mosquitto.conf", log="mosquitto.log")
        print(f"{HONEST} honest devices ask ten times a second; one attacker asks with ten times the capacity")
        for name in ("mosquitto", "embedded"):
            process = self.serve(name)
            capacity = self.load(name, "token", 64, 1, self.arguments.seconds)["requests_per_second"]
            process.terminate()
            process.wait()
            file, rate = self.directory / f"{name}.toml", int(capacity * 2 / 3)
            file.write_text(file.read_text().replace(NO_LIMITS, f"overall-rate = {rate}\noverall-burst = {rate}\n"))
            process = self.serve(name)
            calm, calm_rate, _ = self.honest(name)
            before, resident = self.counters(name), rss(process)
            attackers = self.attack(name, secrets[name][ATTACKER], capacity * 10)
            time.sleep(1)
            p99, rate, away = self.honest(name)
            for attacker in attackers:
                attacker.kill()
                attacker.wait()
            after = self.counters(name)
            told = ", ".join(f"{after[key] - before[key]} {key}" for key in ("accepted", "rejected", "overloaded", "shed"))
            print(f"{name}: capacity {capacity:.0f} tokens a second")
            print(f"    p99 {calm:.1f} ms alone, {p99:.1f} ms beside the flood: {p99 / calm:.1f} times; {away} sent away")
            print(f"    tokens a second {calm_rate:.0f} alone, {rate:.0f} beside the flood; in all {told}")
            print(f"    RSS {resident} KiB before, {rss(process)} KiB after", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="seconds measured in a run")
    arguments = parser.parse_args()
    run(Flood, arguments)


if __name__ == "__main__":
    main()
