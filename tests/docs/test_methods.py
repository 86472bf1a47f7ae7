"""The table of methods is what the docstrings say, and has the names that people know."""

import re

import methods
import pytest

# How papers and people call them.
USUAL = """
    AC/DC AdaRound AMC APoZ APQ BinaryConnect Bi-Real BlockDrop BNN+ BranchyNet CRD
    DeepCABAC DepGraph DKD DML DoReFa DSR EagleEye edge-popup EVBMF EWC FitNets GhostNet
    GPTQ GraSP GReg HALP HashedNets HAWQ INQ L0 LAMP LC LSQ MAS MobileNetV2 MSDNet OBC OBD
    OBS PABEE PACT PCAS PDP Powerpropagation ProxylessNAS QuickNet RigL RKD RNP SET SFP
    ShuffleNet SkipNet Slimmable SNFS SNIP SparseGPT SqueezeNet SRigL SSL STR SWD SynFlow
    TAKD TAS TTQ TWN US-Nets VIB Wanda Xception XNOR-Net
""".split()
LONG = ["Deep Compression", "Network Slimming", "Lottery Ticket", "attention transfer"]


def test_the_page_is_what_the_docstrings_say():
    assert methods.PAGE.read_text() == methods.page(), methods.__doc__


@pytest.mark.parametrize("name", USUAL + LONG)
def test_a_method_is_found_by_its_usual_name(name):
    found = re.search(
        rf"(?<![a-z0-9]){re.escape(name)}", methods.PAGE.read_text(), re.IGNORECASE
    )
    assert found


def test_files_and_tests_are_there():
    paths = {*re.findall(r"`((?:tfcompress|tests)/[\w/]+\.py)`", methods.page())}
    assert len(paths) > 100
    assert not [path for path in paths if not (methods.ROOT / path).is_file()]
