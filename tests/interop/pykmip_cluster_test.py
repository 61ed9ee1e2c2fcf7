"""vCenter and hosts as real daemons, with PyKMIP's server as their KMS: two nodes, one database."""

import argparse
import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from typing import Any

from tests.interop.pki import Pki
from tests.interop.pykmip import PyKmipServer, free_port

PROGRAMS = argparse.Namespace()  # by the command line
PROVIDER = "skp-1"


class Cluster:
    """A running simulator with a vCenter and hosts, on the machine's time."""

    def __init__(self, folder: str, hosts: int) -> None:
        self._folder = folder + "/cluster"
        self._simulator = subprocess.Popen(
            [
                PROGRAMS.simulator, "--dir", self._folder, "--hosts", str(hosts),
                "--controller-binary", PROGRAMS.controller, "--hostagent-binary",
                PROGRAMS.hostagent,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._simulator.stdout is not None
        for line in self._simulator.stdout:
            if line.startswith("READY "):
                return
        raise AssertionError("the cluster does not start")

    def down(self) -> None:
        self._simulator.terminate()
        self._simulator.wait()
        assert self._simulator.stdout is not None
        self._simulator.stdout.close()

    def do(self, *command: str) -> Any:
        """Its answer."""
        result = self._run(command)
        assert result.returncode == 0, f"{command}: {result.stderr}"
        return json.loads(result.stdout) if result.stdout.strip() else {}

    def refused(self, *command: str) -> str:
        """The reason of the refusal."""
        result = self._run(command)
        assert result.returncode == 1, f"{command}: {result.stdout}{result.stderr}"
        return str(json.loads(result.stderr)["reason"])

    def _run(self, command: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PROGRAMS.cli, "--dir", self._folder, "-o", "json", *command],
            capture_output=True,
            text=True,
            check=False,
        )


class PyKmipClusterTest(unittest.TestCase):
    """A key server of two nodes, and a cluster that knows nothing of it yet."""

    pki: Pki
    nodes: "list[PyKmipServer]"
    cluster: Cluster

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.pki = Pki(folder.name, ("server",))
        self.cluster = Cluster(folder.name, hosts=2)
        self.addCleanup(self.cluster.down)
        self.nodes = []
        for _ in range(2):
            node = PyKmipServer(folder.name, self.pki, free_port())
            self.nodes.append(node)
            self.addCleanup(node.stop)
            node.wait()  # the first one makes the database

    def make_provider(self) -> None:
        """As vSphere's user does it: trust both ways, the private key never leaving the vCenter."""
        servers = [f"--kms-server=node-{i}=127.0.0.1:{n.port}" for i, n in enumerate(self.nodes)]
        self.cluster.do("provider", "create", PROVIDER, "--kmip", *servers)
        presented = self.cluster.do("provider", "trust", PROVIDER, "--kms-server", "node-0")
        self.assertFalse(presented.get("trusted", False))
        self.cluster.do(
            "provider", "trust", PROVIDER, "--kms-server", "node-0", "--fingerprint",
            presented["fingerprint"],
        )
        self.cluster.do("provider", "csr", PROVIDER, "--file", self.pki.path("client.csr"))
        self.pki.sign("client")
        self.cluster.do(
            "provider", "client-cert", PROVIDER, "--client-cert", self.pki.path("client.crt")
        )
        self.cluster.do("provider", "default", PROVIDER)

    def health(self) -> str:
        """Of the provider, asked now."""
        return str(self.cluster.do("provider", "health", PROVIDER)["standardInfo"]["status"])

    def reboot(self, host: str, running: str) -> None:
        """Until it has its keys again; tells by this VM, which runs on it, that it went down."""
        self.cluster.do("host", "reboot", host)
        self.cluster.do("wait", "vm", running, "--power", "off")
        self.cluster.do("wait", "host", host, "--connection", "connected", "--booted")

    def keys_of(self, host: str) -> int:
        """How many keys of the provider the host caches."""
        held = self.cluster.do("host", "show", host).get("heldStandardKeys", [])
        return sum(int(one["keys"]) for one in held)

    def keys_at_kms(self) -> int:
        query = "file:" + self.pki.path("pykmip.db") + "?mode=ro"
        with contextlib.closing(sqlite3.connect(query, uri=True)) as database:
            return int(database.execute("SELECT COUNT(*) FROM managed_objects").fetchone()[0])

    def show(self, vm: str) -> Any:
        return self.cluster.do("vm", "show", vm)

    def test_keys_of_pykmip_serve_until_its_last_node_dies(self) -> None:
        self.make_provider()
        self.assertEqual(self.health(), "KMS_STATUS_GREEN")

        # Create and encrypt: one key for each VM and each host (S38).
        self.cluster.do("vm", "create", "web", "--host", "esx-1", "--disk", "1M")
        self.cluster.do("vm", "encrypt", "web", "--provider", PROVIDER)
        self.cluster.do("vm", "create", "db", "--host", "esx-2", "--disk", "1M", "--encrypted")
        self.assertEqual(self.show("web")["keyId"]["providerId"], PROVIDER)
        self.cluster.do("vm", "power-on", "web")
        self.cluster.do("vm", "power-on", "db")
        self.assertEqual(self.keys_at_kms(), 4)

        # A host boots without keys, and gets those of its whole cluster from the KMS (S55).
        self.reboot("esx-1", "web")
        self.assertEqual(self.show("web")["lockState"], "LOCK_STATE_UNLOCKED")
        self.assertEqual(self.keys_of("esx-1"), 4)
        self.cluster.do("vm", "power-on", "web")
        self.assertEqual(self.keys_at_kms(), 4)

        # A node dies: nothing happens, and its twin makes the next keys (S60).
        self.nodes[0].kill()
        self.cluster.do("vm", "create", "next", "--host", "esx-1", "--encrypted")
        self.cluster.do("vm", "create", "other", "--host", "esx-2", "--encrypted")
        self.assertEqual(self.health(), "KMS_STATUS_YELLOW")
        self.assertEqual(self.keys_at_kms(), 6)
        self.reboot("esx-1", "web")
        self.assertEqual(self.keys_of("esx-1"), 6)
        self.cluster.do("vm", "power-on", "web")

        # Both are dead: what has its key goes on, a new encryption fails and leaves nothing (S52, S53).
        self.nodes[1].kill()
        self.assertEqual(
            self.cluster.refused("vm", "create", "late", "--host", "esx-1", "--encrypted"),
            "REASON_KMS_UNREACHABLE",
        )
        self.assertEqual(self.cluster.refused("vm", "show", "late"), "REASON_NOT_FOUND")
        self.cluster.do("vm", "create", "plain", "--host", "esx-1")
        self.assertEqual(
            self.cluster.refused("vm", "encrypt", "plain", "--provider", PROVIDER),
            "REASON_KMS_UNREACHABLE",
        )
        self.assertNotIn("keyId", self.show("plain"))
        self.assertEqual(self.health(), "KMS_STATUS_RED")
        for vm in ("web", "db"):
            self.assertEqual(self.show(vm)["powerState"], "POWER_STATE_ON")
            self.cluster.do("vm", "power-off", vm)
            self.cluster.do("vm", "power-on", vm)
        self.assertEqual(self.keys_at_kms(), 6)


def main() -> None:
    parser = argparse.ArgumentParser()
    for program in ("cli", "simulator", "controller", "hostagent"):
        parser.add_argument("--" + program, required=True)
    parser.parse_args(namespace=PROGRAMS)
    unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    main()
