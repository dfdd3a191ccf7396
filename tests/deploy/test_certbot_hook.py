import os
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

NAME = "mail.example.org"


class Machine:
    """A certbot directory, a tlsproxy directory, and a record of reloads, all in one temporary place."""

    def __init__(self, root: Path, hook: Path) -> None:
        self.hook = hook
        self.lineage = root / "live" / NAME
        self.certs = root / "certs"
        self.link = self.certs / NAME
        self.reloads = root / "reloads"
        self.lineage.mkdir(parents=True)

    def issue(self, *, key_of_another: bool = False, expires: datetime | None = None) -> bytes:
        """What certbot leaves behind; returns the certificate."""
        ca = trustme.CA()
        pair = ca.issue_cert(NAME, not_after=expires)
        key = ca.issue_cert(NAME) if key_of_another else pair
        chain = b"".join(blob.bytes() for blob in pair.cert_chain_pems)
        (self.lineage / "fullchain.pem").write_bytes(chain)
        (self.lineage / "privkey.pem").write_bytes(key.private_key_pem.bytes())
        return chain

    def renew(self, reload: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "RENEWED_LINEAGE": str(self.lineage),
            "TLSPROXY_CERTS": str(self.certs),
            "TLSPROXY_GROUP": str(os.getgid()),
            "TLSPROXY_RELOAD": reload or f"touch {self.reloads}",
        }
        command = ["/bin/sh", str(self.hook)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)

    def served(self) -> bytes:
        return (self.link / "fullchain.pem").read_bytes()

    def leftovers(self) -> set[str]:
        """Everything below the directory that the link does not need."""
        return {each.name for each in self.certs.iterdir()} - {NAME, self.link.readlink().name}


@pytest.fixture
def machine(tmp_path: Path, deploy: Path) -> Machine:
    return Machine(tmp_path, deploy / "certbot-deploy-hook.sh")


def test_the_first_pair_is_put_in_place_and_reloaded(machine: Machine) -> None:
    chain = machine.issue()
    done = machine.renew()
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.served() == chain
    assert machine.reloads.exists()
    assert machine.leftovers() == set()


def test_the_key_is_readable_to_the_group_and_nobody_else(machine: Machine) -> None:
    machine.issue()
    machine.renew()
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in machine.link.iterdir()}
    assert modes == {"fullchain.pem": 0o640, "privkey.pem": 0o640}
    assert stat.S_IMODE(machine.link.stat().st_mode) == 0o750
    assert stat.S_IMODE(machine.certs.stat().st_mode) == 0o750


def test_a_renewal_keeps_one_pair_to_go_back_to(machine: Machine) -> None:
    chains = []
    for _ in range(3):
        chains.append(machine.issue())
        assert machine.renew().returncode == 0
    assert machine.served() == chains[2]
    (previous,) = machine.leftovers()
    assert (machine.certs / previous / "fullchain.pem").read_bytes() == chains[1]


def refused(machine: Machine, why: str) -> None:
    """The hook must fail, say why, and leave everything as it was."""
    before = machine.served()
    machine.reloads.unlink()
    done = machine.renew()
    assert done.returncode == 1
    assert why in done.stderr
    assert machine.served() == before
    assert not machine.reloads.exists()
    assert machine.leftovers() == set()


@pytest.fixture
def running(machine: Machine) -> Machine:
    machine.issue()
    machine.renew()
    return machine


def test_a_key_of_another_certificate_is_refused(running: Machine) -> None:
    running.issue(key_of_another=True)
    refused(running, "the key does not belong to the certificate")


def test_an_expired_certificate_is_refused(running: Machine) -> None:
    running.issue(expires=datetime.now(UTC) - timedelta(days=1))
    refused(running, "the certificate has expired")


@pytest.mark.parametrize(
    ("file", "why"),
    [("fullchain.pem", "fullchain.pem holds no certificate"), ("privkey.pem", "privkey.pem holds no key")],
)
def test_a_cut_file_is_refused(running: Machine, file: str, why: str) -> None:
    running.issue()
    whole = (running.lineage / file).read_bytes()
    (running.lineage / file).write_bytes(whole[:100])
    refused(running, why)


def test_a_missing_file_is_refused(running: Machine) -> None:
    (running.lineage / "privkey.pem").unlink()
    refused(running, "cannot be read")


def test_what_is_no_link_is_not_overwritten(machine: Machine) -> None:
    machine.issue()
    machine.link.mkdir(parents=True)
    done = machine.renew()
    assert done.returncode == 1
    assert "it has to be a link" in done.stderr
    assert list(machine.link.iterdir()) == []


def test_a_failed_reload_is_reported_although_the_pair_is_in_place(machine: Machine) -> None:
    chain = machine.issue()
    done = machine.renew(reload="false")
    assert done.returncode == 1
    assert "this failed: false" in done.stderr
    assert machine.served() == chain


def test_without_a_lineage_it_says_what_is_missing(machine: Machine) -> None:
    done = subprocess.run(
        ["/bin/sh", str(machine.hook)], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "RENEWED_LINEAGE" in done.stderr
