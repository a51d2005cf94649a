"""The image for ARM64, built and run on a processor that QEMU emulates: `make image-test`.

The kernel hands every program of the image to QEMU, in the build as in the run.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.images import REVISION, Builder, Image, missing_for_arm

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(bool(missing_for_arm()), reason=missing_for_arm()),
]
SLOW_S = 600.0  # a bound for a build that hangs; an emulated start takes seconds
KERNELS = {
    "x86_64": {"avx512vnni", "avx512", "avxvnni", "avx2"},
    "aarch64": {"i8mm", "dotprod"},
}


@pytest.fixture(scope="module")
def arm_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    builder = Builder(tmp_path_factory.mktemp("arm-images"), "arm64")
    yield builder.build("cybersolve-arm64", "--build-arg", f"REVISION={REVISION}")
    builder.clean()


def output_of(image: Image, *command: str, **environment: Any) -> str:
    process = image.start(command, **environment)
    output, _ = process.communicate(timeout=SLOW_S)
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize(
    ("fixture", "machine"), [("image", platform.machine()), ("arm_image", "aarch64")]
)
def test_an_image_has_the_kernels_of_its_processor(
    fixture: str, machine: str, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue(fixture)
    assert output_of(image, "uname", "-m").strip() == machine
    script = "from engine import kernels; print(kernels.level())"
    level = output_of(image, "python", "-c", script).splitlines()[-1]  # ONNX Runtime warns of QEMU
    print(f"{machine}: {level}")
    assert level in KERNELS[machine]


@pytest.mark.parametrize("level", ["i8mm", "dotprod", "none"])
def test_the_image_for_arm_solves_with_the_kernels_of_each_level(
    arm_image: Image, level: str
) -> None:
    asked = ["cybersolve", "solve", "Solve 24 = 1601*c - 1605*c for c."]
    written = output_of(arm_image, *asked, CYBERSOLVE_KERNELS=level)
    assert written.splitlines()[-2:] == ["c = -6", "(correct)"]
