"""Our KMIP client against PyKMIP's server: two of them, twins on one database."""

import os
import signal
import socket
import subprocess
import sys
import tempfile

from tests.interop.pki import Pki

SERVER = """
import logging, sys
from kmip.services.server import KmipServer
server = KmipServer(config_path=sys.argv[1], log_path=sys.argv[2])
with server:
    server.serve()
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start(folder: str, pki: Pki, port: int) -> "subprocess.Popen[bytes]":
    config = f"{folder}/{port}.conf"
    policies = folder + "/policies"
    os.makedirs(policies, exist_ok=True)
    with open(config, "w", encoding="ascii") as file:
        file.write(
            "[server]\nhostname=127.0.0.1\n"
            f"port={port}\ncertificate_path={pki.path('server.crt')}\n"
            f"key_path={pki.path('server.key')}\nca_path={pki.path('ca.crt')}\n"
            "auth_suite=TLS1.2\nenable_tls_client_auth=True\n"
            f"policy_path={policies}\nlogging_level=ERROR\n"
            "tls_cipher_suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n"
            f"database_path={folder}/pykmip.db\n"
        )
    return subprocess.Popen(
        ["/usr/bin/python3", "-c", SERVER, config, f"{folder}/{port}.log"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it has children, which end with it
    )


def main() -> int:
    driver = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        pki = Pki(folder, ("server", "client"))
        ports = [free_port(), free_port()]
        servers = []
        try:
            for port in ports:
                servers.append(start(folder, pki, port))
                # The first one makes the database; the driver asks until it answers.
                wait = subprocess.run(
                    [driver, pki.path("client.crt"), pki.path("client.key"), pki.path("ca.crt"),
                     "--wait", str(port)],
                    check=False,
                )
                assert wait.returncode == 0, "the server does not answer"
            return subprocess.run(
                [driver, pki.path("client.crt"), pki.path("client.key"), pki.path("ca.crt"),
                 "--life", str(ports[0]), str(ports[1])],
                check=False,
            ).returncode
        finally:
            for server in servers:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


if __name__ == "__main__":
    sys.exit(main())
