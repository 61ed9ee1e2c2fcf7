"""PyKMIP's client, of KMIP 1.0, 1.1 and 1.2, against keysphere-kms."""

import json
import subprocess
import sys
import tempfile
import unittest
from typing import Any, Callable

from kmip.core import attributes, enums
from kmip.core.factories.attributes import AttributeFactory
from kmip.pie import exceptions, objects
from kmip.pie.client import ProxyKmipClient

from tests.interop.pki import Pki

KMS = ""  # the program, by the command line
VERSIONS = (
    enums.KMIPVersion.KMIP_1_0,
    enums.KMIPVersion.KMIP_1_1,
    enums.KMIPVersion.KMIP_1_2,
)
Reason = enums.ResultReason
MASKS = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]


def name_attribute(name: str) -> Any:
    value = attributes.Name.create(name, enums.NameType.UNINTERPRETED_TEXT_STRING)
    return AttributeFactory().create_attribute(enums.AttributeType.NAME, value)


class PyKmipClientTest(unittest.TestCase):
    """One key server for all tests; each names its objects for itself."""

    folder: "tempfile.TemporaryDirectory[str]"
    pki: Pki
    nodes: "list[subprocess.Popen[str]]"
    ports: list[int]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.pki = Pki(cls.folder.name, ("server", "client", "other"))
        cls.nodes = [cls.start_node(), cls.start_node()]
        cls.ports = [cls.read_port(node) for node in cls.nodes]

    @classmethod
    def tearDownClass(cls) -> None:
        for node in cls.nodes:
            node.terminate()
            assert node.wait() == 0
            assert node.stdout is not None
            node.stdout.close()
        cls.folder.cleanup()

    @classmethod
    def start_node(cls) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [
                KMS, "--listen", "127.0.0.1:0", "--cert", cls.pki.path("server.crt"), "--key",
                cls.pki.path("server.key"), "--ca", cls.pki.path("ca.crt"), "--data",
                cls.folder.name + "/data", "--log-file", "/dev/null", "--secure-heap", "262144",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def read_port(node: "subprocess.Popen[str]") -> int:
        assert node.stdout is not None
        line = node.stdout.readline()
        assert line.startswith("READY "), line
        return int(json.loads(line[len("READY "):])["address"].rsplit(":", 1)[1])

    def client(
        self, version: enums.KMIPVersion, node: int = 0, who: str = "client"
    ) -> ProxyKmipClient:
        return ProxyKmipClient(
            hostname="127.0.0.1",
            port=self.ports[node],
            cert=self.pki.path(who + ".crt"),
            key=self.pki.path(who + ".key"),
            ca=self.pki.path("ca.crt"),
            ssl_version="PROTOCOL_TLSv1_2",
            kmip_version=version,
        )

    def refused(self, reason: enums.ResultReason, call: Callable[..., Any], *args: Any) -> None:
        with self.assertRaises(exceptions.KmipOperationFailure) as raised:
            call(*args)
        self.assertEqual(raised.exception.reason, reason)

    def create(self, client: ProxyKmipClient, name: str) -> str:
        uid = client.create(
            enums.CryptographicAlgorithm.AES, 256, name=name, cryptographic_usage_mask=MASKS
        )
        assert isinstance(uid, str)
        return uid

    def test_life_of_a_key(self) -> None:
        for version in VERSIONS:
            with self.subTest(version), self.client(version) as client:
                name = "life-" + version.name
                uid = self.create(client, name)
                key = client.get(uid)
                self.assertEqual(len(key.value), 32)
                self.assertEqual(key.cryptographic_algorithm, enums.CryptographicAlgorithm.AES)
                self.assertEqual(client.locate(attributes=[name_attribute(name)]), [uid])
                listed = client.get_attribute_list(uid)
                self.assertIn("State", listed)
                self.assertIn("Name", listed)
                values = {
                    one.attribute_name.value: one.attribute_value
                    for one in client.get_attributes(uid)[1]
                }
                self.assertEqual(values["State"].value, enums.State.PRE_ACTIVE)
                self.assertEqual(values["Cryptographic Length"].value, 256)
                client.activate(uid)
                self.refused(Reason.PERMISSION_DENIED, client.activate, uid)
                self.refused(Reason.PERMISSION_DENIED, client.destroy, uid)
                client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
                client.destroy(uid)
                self.refused(Reason.ITEM_NOT_FOUND, client.get, uid)
                self.refused(Reason.PERMISSION_DENIED, client.destroy, uid)
                self.assertEqual(client.locate(attributes=[name_attribute(name)]), [])

    def test_register(self) -> None:
        for version in VERSIONS:
            with self.subTest(version), self.client(version) as client:
                key = objects.SymmetricKey(
                    enums.CryptographicAlgorithm.AES, 128, bytes(range(16)), masks=MASKS,
                    name="registered-" + version.name,
                )
                self.assertEqual(client.get(client.register(key)).value, bytes(range(16)))
                secret = objects.SecretData(
                    b"pass", enums.SecretDataType.PASSWORD, name="secret-" + version.name
                )
                self.assertEqual(client.get(client.register(secret)).value, b"pass")
                # The same name again
                self.refused(Reason.INVALID_FIELD, client.register, key)

    def test_attributes(self) -> None:
        for version in VERSIONS:
            with self.subTest(version), self.client(version) as client:
                name = "attributes-" + version.name
                uid = self.create(client, name)
                value = attributes.Name.create(
                    "renamed-" + name, enums.NameType.UNINTERPRETED_TEXT_STRING
                )
                attribute = AttributeFactory().create_attribute(
                    enums.AttributeType.NAME, value, index=0
                )
                client.modify_attribute(uid, attribute=attribute)
                self.assertEqual(
                    client.locate(attributes=[name_attribute("renamed-" + name)]), [uid]
                )
                client.delete_attribute(uid, attribute_name="Name", attribute_index=0)
                self.assertNotIn("Name", client.get_attribute_list(uid))

    def test_wrong_use(self) -> None:
        for version in VERSIONS:
            with self.subTest(version), self.client(version) as client:
                self.refused(Reason.ITEM_NOT_FOUND, client.get, "nobody")
                self.refused(Reason.ITEM_NOT_FOUND, client.activate, "nobody")
                self.refused(Reason.ITEM_NOT_FOUND, client.destroy, "nobody")
                self.refused(
                    Reason.INVALID_FIELD, client.create, enums.CryptographicAlgorithm.AES, 100
                )
                self.refused(
                    Reason.OPERATION_NOT_SUPPORTED, client.create_key_pair,
                    enums.CryptographicAlgorithm.RSA, 2048,
                )

    def test_keys_of_others_are_invisible(self) -> None:
        version = enums.KMIPVersion.KMIP_1_1
        with self.client(version) as client, self.client(version, who="other") as other:
            uid = self.create(client, "mine")
            self.refused(Reason.ITEM_NOT_FOUND, other.get, uid)
            self.assertEqual(other.locate(attributes=[name_attribute("mine")]), [])

    def test_nodes_with_one_folder_are_one_key_server(self) -> None:
        version = enums.KMIPVersion.KMIP_1_1
        with self.client(version, 0) as first, self.client(version, 1) as second:
            uid = self.create(first, "shared")
            self.assertEqual(first.get(uid).value, second.get(uid).value)
            second.activate(uid)
            self.refused(Reason.PERMISSION_DENIED, first.activate, uid)


if __name__ == "__main__":
    KMS = sys.argv.pop(1)
    unittest.main()
