"""`sam build` makes what Lambda can run: of the right machine, with bytecode, without what Lambda has."""

from __future__ import annotations

import json
import platform
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.integration.sam.conftest import ARCHITECTURES, CHECKOUT

pytestmark = pytest.mark.sam

FUNCTIONS = ("LifecycleFunction", "FailoverFunction", "ReconcileFunction")
LAYERS = ("PodwayLayer", "ThirdPartyLayer")
ELF_MACHINES = {"arm64": 0xB7, "x86_64": 0x3E}
"""``e_machine`` of AArch64 and of x86-64 (System V ABI)."""
HOST = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[
    platform.machine().lower()
]
RUNTIME_HAS = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
UNCHECKED_HASH = 0b01
"""Flags of a .pyc that is believed without a look at its source (PEP 552)."""

IMPORTING = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import app, podway
print(json.dumps({"handler": callable(app.handler), "podway": podway.__file__}))
"""


def size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())


@pytest.fixture(scope="session")
def runtime_packages(sam: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what Lambda's Python brings, and nothing else."""
    (installed,) = sam.glob("lib/python3.13/site-packages")
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME_HAS:
        (folder / name).symlink_to(installed / name)
    return folder


def test_the_template_is_valid_without_credentials_or_a_region(sam: Path, tmp_path: Path) -> None:
    environment = {"PATH": f"{sam}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "SAM_CLI_TELEMETRY": "0"}
    command = [str(sam / "bin" / "sam"), "validate", "--lint"]

    said = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False, text=True, capture_output=True)

    assert said.returncode == 0, said.stdout + said.stderr
    assert "is a valid SAM Template" in said.stdout


@pytest.mark.parametrize("function", FUNCTIONS)
def test_handlers_import_from_the_artifacts_with_nothing_but_boto3_and_an_empty_environment(
    builds: dict[str, Path], runtime_packages: Path, sam: Path, function: str
) -> None:
    built = builds[HOST]
    path = [built / function, *(built / layer / "python" for layer in LAYERS), runtime_packages]
    places = json.dumps([str(one) for one in path])
    command = [str(sam / "bin" / "python3.13"), "-I", "-S", "-c", IMPORTING, places]

    said = subprocess.run(command, env={}, check=False, text=True, capture_output=True)

    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["handler"]
    assert told["podway"].startswith(str(built / "PodwayLayer"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_extension_module_is_of_the_machine_that_was_asked_for(
    builds: dict[str, Path], architecture: str
) -> None:
    extensions = list(builds[architecture].rglob("*.so*"))

    assert extensions
    for extension in extensions:
        header = extension.read_bytes()[:20]
        assert header[:4] == b"\x7fELF"
        (machine,) = struct.unpack_from("<H", header, 18)
        assert machine == ELF_MACHINES[architecture], extension.name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_hold_nothing_that_the_runtime_has_or_nobody_reads(
    builds: dict[str, Path], architecture: str
) -> None:
    packages = {one.name for layer in LAYERS for one in (builds[architecture] / layer / "python").iterdir()}
    files = [one for layer in LAYERS for one in (builds[architecture] / layer).rglob("*")]

    assert {"podway", "pydantic", "aws_lambda_powertools"} <= packages
    assert not packages & {"boto3", "botocore", "s3transfer", "urllib3", "bin"}
    assert not [one for one in files if one.name in {"tests", "oui.txt", "iab.txt"}]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_source_of_a_layer_has_bytecode_that_is_believed(
    builds: dict[str, Path], architecture: str
) -> None:
    sources = [one for layer in LAYERS for one in (builds[architecture] / layer).rglob("*.py")]

    assert sources
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        (flags,) = struct.unpack_from("<I", compiled.read_bytes()[:16], 4)
        assert flags == UNCHECKED_HASH, source


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_small_service_models_lie_where_the_functions_look_for_them(
    builds: dict[str, Path], architecture: str
) -> None:
    models = sorted((builds[architecture] / "PodwayLayer" / "data").glob("*/*/service-2.json"))
    template = (builds[architecture] / "template.yaml").read_text()

    assert [model.parts[-3] for model in models] == ["dynamodb", "ec2"]
    assert "AWS_DATA_PATH: /opt/data" in template, "a layer's folder lies at /opt"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_are_small_and_a_change_of_ours_uploads_little(
    builds: dict[str, Path], architecture: str, runtime_packages: Path
) -> None:
    ours, others = (size((builds[architecture] / layer).rglob("*")) for layer in LAYERS)
    left_out = size((runtime_packages / "botocore").resolve().rglob("*"))

    assert ours + others < left_out, "with botocore in it, a layer would be more than twice as large"
    assert ours < others / 5


def test_the_artifacts_of_both_architectures_come_from_the_same_sources(builds: dict[str, Path]) -> None:
    first, second = (
        {
            str(one.relative_to(builds[architecture])): one.read_bytes()
            for name in (*FUNCTIONS, "PodwayLayer")
            for one in (builds[architecture] / name).rglob("*.py")
        }
        for architecture in ARCHITECTURES
    )

    assert first
    assert first == second
