"""One `sam build` makes what Lambda can run on either processor: with bytecode, without what Lambda has."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import limits
from tests.integration.sam.conftest import ARCHITECTURES, CHECKOUT

pytestmark = [pytest.mark.sam, limits.long]

FUNCTIONS = ("LifecycleFunction", "FailoverFunction", "ReconcileFunction")
LAYERS = ("PodwayLayer", "ThirdPartyLayer")
ELF_MACHINES = {"arm64": 0xB7, "x86_64": 0x3E}
"""``e_machine`` of AArch64 and of x86-64 (System V ABI)."""
PLATFORMS = {"arm64": "aarch64-linux-gnu", "x86_64": "x86_64-linux-gnu"}
"""How the name of an extension module ends."""
LARGEST = 262_144_000
"""Bytes that Lambda takes of a function and all its layers, unzipped."""
RUNTIME_HAS = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
UNCHECKED_HASH = 0b01
"""Flags of a .pyc that is believed without a look at its source (PEP 552)."""

IMPORTING = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import app, podway
print(json.dumps({"handler": callable(app.handler), "podway": podway.__file__}))
"""

PRETENDED_PIP = """#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --target) target=$2 ;;
    --platform) machine=${{2#manylinux2014_}}; [ "$machine" = "$2" ] || kept=$machine ;;
  esac
  shift
done
[ -n "$target" ] || exit 0
machine=$kept
mkdir -p "$target/package" && echo "of $machine" >"$target/package/{name}"
"""
"""Stands for pip: installs one file that holds, and may bear, its processor's name."""


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but bytecode, which may differ from run to run."""
    files = (one for one in folder.rglob("*") if one.is_file() and one.suffix != ".pyc")
    return {str(one.relative_to(folder)): one.read_bytes() for one in files}


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
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_handlers_import_from_the_artifacts_with_nothing_but_boto3_and_an_empty_environment(
    builds: dict[str, Path], runtime_packages: Path, sam: Path, architecture: str, function: str
) -> None:
    built = builds[architecture]
    path = [built / function, *(built / layer / "python" for layer in LAYERS), runtime_packages]
    places = json.dumps([str(one) for one in path])
    command = [str(sam / "bin" / "python3.13"), "-I", "-S", "-c", IMPORTING, places]

    said = subprocess.run(command, env={}, check=False, text=True, capture_output=True)

    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["handler"]
    assert told["podway"].startswith(str(built / "PodwayLayer"))


def test_every_extension_module_is_there_for_both_processors_and_is_what_its_name_says(built: Path) -> None:
    extensions = [one for one in built.rglob("*.so*") if one.is_file()]
    found = {
        architecture: {
            one.with_name(one.name.split(".")[0]): one for one in extensions if platform in one.name
        }
        for architecture, platform in PLATFORMS.items()
    }

    assert found["arm64"].keys() == found["x86_64"].keys()
    assert 2 * len(found["arm64"]) == len(extensions) > 0
    for architecture, modules in found.items():
        for extension in modules.values():
            header = extension.read_bytes()[:20]
            assert header[:4] == b"\x7fELF"
            (machine,) = struct.unpack_from("<H", header, 18)
            assert machine == ELF_MACHINES[architecture], extension.name


def test_either_value_of_architecture_builds_the_same(builds: dict[str, Path]) -> None:
    first, second = (
        {one: content(folder / one) for one in (*FUNCTIONS, *LAYERS)} for folder in builds.values()
    )

    assert all(first.values())
    assert first == second


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("fast.cpython-313-{machine}-linux-gnu.so", False),
        ("only_{machine}.cpython-313-{machine}-linux-gnu.so", True),
        ("fast.cpython-313-x86_64-linux-gnu.so", True),
        ("fast.abi3.so", True),
        ("only_{machine}.py", True),
        ("slow.py", True),
    ],
)
def test_a_package_that_differs_by_more_than_extension_modules_fails_the_build(
    tmp_path: Path, name: str, refused: bool
) -> None:
    pretended = tmp_path / "python3.13"
    pretended.write_text(PRETENDED_PIP.format(name=name.format(machine="$machine")))
    pretended.chmod(0o755)
    command = [
        "make",
        "--directory",
        "layers/thirdparty",
        "build-ThirdPartyLayer",
        f"ARTIFACTS_DIR={tmp_path}/made",
    ]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    said = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False, text=True, capture_output=True)

    assert bool(said.returncode) == refused, said.stdout + said.stderr
    assert refused or len(list((tmp_path / "made" / "python" / "package").iterdir())) == 2


def test_layers_hold_nothing_that_the_runtime_has_or_nobody_reads(built: Path) -> None:
    packages = {one.name for layer in LAYERS for one in (built / layer / "python").iterdir()}
    folders = {one.name for layer in LAYERS for one in (built / layer).rglob("*") if one.is_dir()}

    assert {"podway", "pydantic", "aws_lambda_powertools"} <= packages
    assert not packages & {"boto3", "botocore", "s3transfer", "urllib3", "bin"}
    assert not folders & {"tests", "test", "docs"}
    assert {one.name for one in (built / "ThirdPartyLayer").iterdir()} == {"python"}


def test_every_source_of_a_layer_has_bytecode_that_is_believed(built: Path) -> None:
    sources = [one for layer in LAYERS for one in (built / layer).rglob("*.py")]

    assert sources
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        (flags,) = struct.unpack_from("<I", compiled.read_bytes()[:16], 4)
        assert flags == UNCHECKED_HASH, source


def test_the_small_service_models_lie_where_the_functions_look_for_them(built: Path) -> None:
    models = sorted((built / "PodwayLayer" / "data").glob("*/*/service-2.json"))
    template = (built / "template.yaml").read_text()

    assert [model.parts[-3] for model in models] == ["dynamodb", "ec2"]
    assert "AWS_DATA_PATH: /opt/data" in template, "a layer's folder lies at /opt"


def test_layers_are_small_and_a_change_of_ours_uploads_little(built: Path) -> None:
    ours, others = (size((built / layer).rglob("*")) for layer in LAYERS)

    assert ours + others < LARGEST / 10
    assert ours < others / 5
