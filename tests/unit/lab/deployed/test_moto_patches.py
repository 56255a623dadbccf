"""The lab's CloudFormation: it can make everything that the template declares, and refuses what it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from podway_lab.deployed.moto_patches import patch_moto
from podway_lab.stack.template import Place, Template

TEMPLATE = Path(__file__).parents[4] / "template.yaml"


def test_the_region_can_make_every_type_of_resource_in_the_template() -> None:
    patch_moto()
    template = Template(TEMPLATE, {"ClusterName": "demo", "VpcId": "vpc-0123456789abcdef0"}, Place())
    kinds = {one["Type"] for one in template._resources.values()}

    unknown = {kind for kind in kinds if kind not in parsing.get_model_map()}

    assert "AWS::Lambda::Function" in kinds
    assert not unknown, "podway_lab.deployed.moto_patches must learn of them"


def test_what_nobody_can_make_is_refused_not_left_out() -> None:
    patch_moto()

    with pytest.raises(ValidationError, match="cannot make a AWS::Nobody::Knows"):
        parsing.resource_class_from_type("AWS::Nobody::Knows")
