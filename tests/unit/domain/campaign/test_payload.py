"""The numbers and the size of payloads."""

from __future__ import annotations

import json
import time

import pytest

from daemon.domain.campaign.payload import PAYLOAD_LIMIT, payload_size, read_payload
from daemon.domain.requests.fields import Faults, NotJson, strict_decoder

decode = strict_decoder().decode


KEPT = """
    0.1  -0.5e-3  1e308  5e-324  1E5  0.30000000000000004  100.0  0e5  -0.0  0.10000000000000001
    4.9406564584124654e-324  9007199254740992.0  1.50  12345678901234567890123  -9007199254740993
"""
CHANGED = """
    12345678901234567890.123456789  9007199254740993.0  0.10000000000000000001  1e-400
    123456789012345678e-3  1e-99999999999999999999
"""


@pytest.mark.parametrize("text", KEPT.split())
def test_a_number_that_comes_back_equal_is_read(text: str) -> None:
    """Doubles in the forms in which programs write them, and integers of any length."""
    assert decode(text) == json.loads(text)


@pytest.mark.parametrize("text", [*CHANGED.split(), "0." + "0" * 400 + "1"])
def test_a_number_that_would_be_changed_is_refused(text: str) -> None:
    """The error shows the number and what a double would make of it."""
    with pytest.raises(NotJson, match=r"would be changed: the nearest double is .* as a string"):
        decode(text)


@pytest.mark.parametrize("number", ["1e308", "5e-324", "0.10000000000000001", "1" * 4000, "1.5"])
def test_numbers_are_read_in_time(number: str) -> None:
    """A body of 256 KiB is read in well under a second."""
    text = "[" + ",".join([number] * (256 * 1024 // (len(number) + 1))) + "]"
    began = time.perf_counter()
    payload_size({"a": decode(text)})
    assert time.perf_counter() - began < 1


def test_a_payload_is_measured_with_its_numbers_written_out() -> None:
    """A few bytes in a request do not become megabytes in every message."""
    faults = Faults()
    assert read_payload(faults, "payload", {"a": [1e308] * 200}) is not None
    assert not faults
    for number in (1e308, 5e-324, -1e-300):
        faults = Faults()
        read_payload(faults, "payload", {"a": [number] * 8_000})
        assert f"must have at most {PAYLOAD_LIMIT}" in faults.to_error("x").detail
