"""Certificates made anew for each run."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """A CA and a pair for ``localhost`` and 127.0.0.1."""

    ca: trustme.CA
    ca_file: Path
    chain: Path
    key: Path

    def client_context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client's context that trusts the CA, and speaks one TLS version alone if asked."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def pair(self, folder: Path, *names: str) -> tuple[Path, Path]:
        """One more pair: paths of chain and key."""
        issued = self.ca.issue_cert(*names)
        chain, key = folder / f"{names[0]}.pem", folder / f"{names[0]}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        key.chmod(0o600)
        return chain, key


def make_pki(folder: Path) -> Pki:
    ca = trustme.CA()
    ca_file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    bare = Pki(ca=ca, ca_file=ca_file, chain=folder, key=folder)
    chain, key = bare.pair(folder, "localhost", "127.0.0.1")
    return Pki(ca=ca, ca_file=ca_file, chain=chain, key=key)
