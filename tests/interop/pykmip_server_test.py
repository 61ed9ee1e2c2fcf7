"""Our KMIP client against PyKMIP's server: two of them, twins on one database."""

import subprocess
import sys
import tempfile

from tests.interop.pki import Pki
from tests.interop.pykmip import PyKmipServer, free_port


def main() -> int:
    driver = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        pki = Pki(folder, ("server", "client"))
        ports = [free_port(), free_port()]
        servers = []
        try:
            for port in ports:
                servers.append(PyKmipServer(folder, pki, port))
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
                server.stop()


if __name__ == "__main__":
    sys.exit(main())
