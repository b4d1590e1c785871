"""Certificates for the webhook's tests, made at test time."""

from pathlib import Path

import pytest

from tests.bed.pki import Authority, create_authority
from tests.contract.webhooks import Files


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority that clients trust."""
    return create_authority("webhook test")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    """A good certificate pair on disk."""
    return Files.create(tmp_path, authority)
