"""What a person sees in Prefect's own pages: every field of a form with its title, what it means and its default."""

from __future__ import annotations

import pytest

from tests.browser import Browser, browser, needs_browser
from tests.prefect_fixtures import PrefectServer, prefect_server
from tests.prefect_ui import PrefectPages

__all__ = ["browser", "prefect_server"]

pytestmark = [pytest.mark.slow, needs_browser]


def pages(browser: Browser, server: PrefectServer) -> PrefectPages:
    return PrefectPages(browser, f"{server.url.removesuffix('/api')}/v2")


@pytest.mark.parametrize("name", ["export-to-private-cloud", "prepare-test-image", "migrate-fleet"])
def test_form_shows_what_each_field_means_and_what_it_is_without_a_word(
    browser: Browser, prefect_server: PrefectServer, name: str
) -> None:
    deployment = prefect_server.deployment(name)
    ui = pages(browser, prefect_server)
    ui.open(f"/deployments/deployment/{deployment['id']}/run")
    ui.field("Limits" if name != "prepare-test-image" else "Hours for a decision", seconds=60)
    said = " ".join(ui.text.split())
    schema = deployment["parameter_openapi_schema"]
    # A group that may be left out (the selector of a fleet) shows its fields once it is asked for.
    groups = {one["$ref"].rpartition("/")[2] for one in schema["properties"].values() if "$ref" in one}
    models = [schema["definitions"][group] for group in groups]
    for fields in [schema["properties"], *(model["properties"] for model in models)]:
        for key, given in fields.items():
            field = {**schema["definitions"].get(given.get("$ref", "").rpartition("/")[2], {}), **given}
            assert field["title"] in said, key
            assert " ".join(field["description"].split()) in said, key
    assert ui.field("Leave out free space").get_attribute("aria-checked") == "true"
    assert ui.field("On fstab mismatch").text == ("warn" if name == "prepare-test-image" else "fail")
    assert ui.field("Memory").get_attribute("value") == "2048"
