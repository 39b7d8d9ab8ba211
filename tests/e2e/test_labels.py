"""The priority as a label of the study, where the study list of this Orthanc has labels."""

import pytest

from tests.e2e.samples import photograph
from tests.router_process import RouterProcess

pytestmark = pytest.mark.orthanc


def test_the_priority_is_a_label_that_studies_are_found_by(router: RouterProcess) -> None:
    if not router.rest.get("/system").json().get("HasLabels"):
        pytest.skip("this Orthanc has no labels (1.12.0 and later have)")
    blurred, sharp = photograph("out-of-focus"), photograph()
    router.c_store(blurred, sharp)
    listed = {}
    for source in (blurred, sharp):
        (job,) = router.wait_jobs(source.StudyInstanceUID)
        assert job["state"] == "COMPLETED", job["reason"]
        (result,) = router.results(source.StudyInstanceUID)
        label = f"ai-{result['verdict']['priority'].lower()}"
        assert router.rest.get(f"/studies/{job['study_id']}/labels").json() == [label]
        query = {"Level": "Study", "Query": {}, "Labels": [label], "LabelsConstraint": "All"}
        assert job["study_id"] in router.rest.post("/tools/find", json=query).json()
        listed[job["study_id"]] = label
    assert set(listed.values()) == {"ai-high", "ai-routine"}
