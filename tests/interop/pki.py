"""Certificates of a test, made by the openssl program."""

import os
import subprocess


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Pki:
    """A folder with ca.crt, and NAME.crt and NAME.key for each name."""

    def __init__(self, folder: str, names: tuple[str, ...]) -> None:
        self._folder = folder
        _openssl(
            "req", "-x509", *_NEW_KEY, "-keyout", self.path("ca.key"), "-out",
            self.path("ca.crt"), "-subj", "/CN=test ca", "-days", "400",
        )
        for name in names:
            _openssl(
                "req", *_NEW_KEY, "-keyout", self.path(name + ".key"), "-out",
                self.path(name + ".csr"), "-subj", "/CN=" + name,
            )
            self.sign(name)
            os.chmod(self.path(name + ".key"), 0o600)

    def sign(self, name: str) -> None:
        """Answers the request NAME.csr with NAME.crt."""
        extensions = self.path(name + ".ext")
        with open(extensions, "w", encoding="ascii") as file:
            file.write("subjectAltName=IP:127.0.0.1\n")
            file.write("extendedKeyUsage=serverAuth,clientAuth\n")
        _openssl(
            "x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path("ca.crt"), "-CAkey",
            self.path("ca.key"), "-CAcreateserial", "-out", self.path(name + ".crt"), "-days", "365",
            "-extfile", extensions,
        )

    def path(self, name: str) -> str:
        return os.path.join(self._folder, name)
