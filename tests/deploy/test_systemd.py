import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOCKETS = sorted(path.name for path in (ROOT / "deploy").glob("*.socket"))
systemd_analyze = pytest.mark.parametrize("tool", ["systemd-analyze"], indirect=True)


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # configparser's own way to keep the case
    parser.read(path)
    return parser


def exposure(tool: str, path: Path) -> float:
    command = [tool, "security", "--offline=true", "--no-pager", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found
    return float(found[1])


@pytest.fixture
def installed(deploy: Path, tmp_path: Path) -> Path:
    """The units as they are installed, with a program that exists on this machine."""
    for path in (*deploy.glob("*.socket"), deploy / "tlsproxy.service"):
        shutil.copy(path, tmp_path)
    service = tmp_path / "tlsproxy.service"
    service.write_text(service.read_text().replace("/opt/tlsproxy/current/bin/tlsproxy", "/bin/true"))
    return tmp_path


@systemd_analyze
def test_systemd_has_nothing_to_say_about_the_units(tool: str, installed: Path) -> None:
    units = [str(path) for path in installed.iterdir()]
    done = subprocess.run([tool, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    # The machine's other units may be odd; ours are named in whatever concerns them.
    assert [each for each in done.stderr.splitlines() if "tlsproxy" in each] == []
    assert done.returncode == 0


@systemd_analyze
def test_the_exposure_is_as_low_as_the_readme_says(tool: str, deploy: Path, tmp_path: Path) -> None:
    stated = [float(each) for each in re.findall(r"\| \*\*([0-9.]+) OK\*\* \|", (deploy / "README.md").read_text())]
    both = tmp_path / "tlsproxy.service"
    both.write_text((deploy / "tlsproxy.service").read_text() + (deploy / "dropins/sockets.conf").read_text())
    measured = [exposure(tool, deploy / "tlsproxy.service"), exposure(tool, both)]
    assert len(stated) == 2
    assert all(found <= said for found, said in zip(measured, stated, strict=True)), measured


@pytest.mark.parametrize("name", SOCKETS)
def test_a_socket_unit_is_named_like_its_descriptor(deploy: Path, name: str) -> None:
    socket = unit(deploy / name)["Socket"]
    assert name == f"tlsproxy-{socket['FileDescriptorName']}.socket"
    assert socket["Service"] == "tlsproxy.service"
    assert f'"fd:{socket["FileDescriptorName"]}"' in (deploy / "README.md").read_text()


def test_the_service_is_stopped_later_than_the_drain_ends(deploy: Path) -> None:
    from tlsproxy.config.model import Timeouts  # noqa: PLC0415 - the other tests here do not need the package

    assert int(unit(deploy / "tlsproxy.service")["Service"]["TimeoutStopSec"]) > Timeouts().drain
