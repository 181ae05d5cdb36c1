"""The wheels for an image are those that the image's own Python needs."""

from __future__ import annotations

from tests.support.machines.image import requirements_for

LOCK = """\
# by make lock
old==1 ; python_full_version < '3.11.3' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
always==2 \\
    --hash=sha256:cc
"""


def test_the_image_and_not_this_python_evaluates_a_marker() -> None:
    assert requirements_for({"python_full_version": "3.11.2"}, LOCK) == LOCK.replace(
        " ; python_full_version < '3.11.3'", ""
    )
    assert requirements_for({"python_full_version": "3.11.7"}, LOCK) == (
        "# by make lock\nalways==2 \\\n    --hash=sha256:cc\n"
    )
