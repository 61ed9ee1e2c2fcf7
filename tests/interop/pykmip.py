"""PyKMIP's server, started on 127.0.0.1."""

import os
import signal
import socket
import subprocess

from tests.interop.pki import Pki

_SERVER = """
import sys
from kmip.services.server import KmipServer
server = KmipServer(config_path=sys.argv[1], log_path=sys.argv[2])
with server:
    print("started", flush=True)
    server.serve()
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class PyKmipServer:
    """Runs until stop(). Those of one folder are twins on one database; it may still be starting."""

    def __init__(self, folder: str, pki: Pki, port: int) -> None:
        self.port = port
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
        self._process = subprocess.Popen(
            ["/usr/bin/python3", "-c", _SERVER, config, f"{folder}/{port}.log"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it has children, which end with it
        )

    def wait(self) -> None:
        """Returns when it takes connections."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "PyKMIP's server does not start"
        while True:  # for the moment from here to its listen()
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return

    def kill(self) -> None:
        """It dies; its children are left to stop()."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
