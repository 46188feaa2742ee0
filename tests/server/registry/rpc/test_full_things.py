"""A model and its versions, filled to every limit, are below the largest message, alone and in the answers of lists."""

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests.fields import DESCRIPTION_LENGTH, KEY_LENGTH
from modelry_server.kernel.transport.messages import MESSAGE_BYTES
from modelry_server.registry.domain.names import (
    ALIAS_LENGTH,
    ALIASES_PER_MODEL,
    FLAVOR_LENGTH,
    FLAVORS,
    MODEL_NAME_LENGTH,
    SIGNATURE_BYTES,
)
from modelry_server.registry.entities import Flavor, Signature
from modelry_server.registry.rpc import models, versions
from modelry_server.registry.store import aliases as alias_rows
from tests.server.registry.conftest import Registry

WIDE = "\U0001f600"  # four bytes
NAME = WIDE * MODEL_NAME_LENGTH
TAGS = {f"{number:03}": "v" * 253 for number in range(1000)}  # 262 bytes of JSON each
FLAVORS_OF_IT = tuple(Flavor(f"{n:03}" + WIDE * (FLAVOR_LENGTH - 3), WIDE * FLAVOR_LENGTH) for n in range(FLAVORS))
TOKEN_BYTES = 32 << 10


def test_a_full_model_and_its_full_versions_can_be_sent(registry: Registry) -> None:
    model = registry.a_model(NAME, description=WIDE * DESCRIPTION_LENGTH, tags=TAGS)
    stages = ["None", "Staging", "Production", "Archived"]
    for stage in stages:
        registry.a_version(
            NAME,
            stage=stage,
            description=WIDE * DESCRIPTION_LENGTH,
            creator=WIDE * KEY_LENGTH,
            tags=TAGS,
            signature=Signature(inputs="1" * SIGNATURE_BYTES),
            flavors=FLAVORS_OF_IT,
        )
    with registry.db.write() as tx:
        for number in range(ALIASES_PER_MODEL):
            alias_rows.point(tx, model.model_id, f"{number:04}".rjust(ALIAS_LENGTH, "a"), 1, 1000)

    whole = models.message(registry.get(NAME))
    version = registry.versions.get(workspace="default", model_name=NAME, version_number=1)
    latest = registry.versions.latest("default", NAME, [])
    listed = registry.versions.search("default", "", (), after=None, limit=100)

    assert (len(whole.aliases), len(version.aliases), len(version.flavors)) == (2000, 2000, 100)
    assert api.GetModelResponse(model=whole).ByteSize() < MESSAGE_BYTES - TOKEN_BYTES
    assert api.GetVersionResponse(version=versions.message(version)).ByteSize() < MESSAGE_BYTES - TOKEN_BYTES
    assert [each.stage for each in latest] == stages
    assert api.ListLatestVersionsResponse(versions=map(versions.message, latest)).ByteSize() < MESSAGE_BYTES
    assert max(versions.message(each.item).ByteSize() for each in listed) < MESSAGE_BYTES - TOKEN_BYTES
