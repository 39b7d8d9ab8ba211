"""What a crash, a stop, a second process or a cleared log may not do: lose a result, or make it twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.samples import photograph, stained_slide
from tests.e2e.test_first_light import part10
from tests.router_process import RouterProcess

pytestmark = pytest.mark.orthanc


@dataclass(frozen=True)
class Analysis:
    """A router that is in the middle of a slide."""

    router: RouterProcess
    study: str
    sources: int  # how many instances the slide has
    job: dict[str, Any]  # as it was when the first patches were done


def in_progress(router: RouterProcess, study: str) -> dict[str, Any] | None:
    """The study's job once it has done at least one patch and is not finished."""
    jobs = router.jobs(study)
    running = [j for j in jobs if j["state"] == "IN PROGRESS" and j["progress"] and j["progress"]["done"] > 0]
    return running[0] if running else None


@contextmanager
def slide_in_analysis(folder: Path) -> Iterator[Analysis]:
    _, instances = stained_slide(2048)
    study = instances[0].StudyInstanceUID
    with RouterProcess(folder) as router:
        router.wait_state()
        router.c_store(*instances)
        job = router.until(lambda: in_progress(router, study), "a job in progress")
        yield Analysis(router, study, len(instances), job)


def test_kill_in_mid_job_and_restart_gives_exactly_one_result(tmp_path: Path) -> None:
    with slide_in_analysis(tmp_path) as analysis:
        router, study = analysis.router, analysis.study
        router.kill()
        router.start()
        router.wait_state()
        (job,) = router.wait_jobs(study)
        assert (job["state"], job["attempts"]) == ("COMPLETED", 2)
        (result,) = router.results(study)
        written = len(result["evidence"])
        assert router.instance_count(study) == analysis.sources + written
        # The sources were never touched, and nothing was written twice under other UIDs.
        assert len({o.SOPInstanceUID for o in router.evidence(study)}) == written


def test_a_clean_stop_interrupts_and_the_next_start_finishes(tmp_path: Path) -> None:
    with slide_in_analysis(tmp_path) as analysis:
        router, study = analysis.router, analysis.study
        router.stop()  # fails unless Orthanc ends by itself with return code 0
        router.start()
        router.wait_state()
        (job,) = router.wait_jobs(study)
        assert job["state"] == "COMPLETED"
        assert len(router.results(study)) == 1


def test_what_arrived_while_the_router_was_off_is_found_even_without_a_change_log(tmp_path: Path) -> None:
    source = photograph()
    with RouterProcess(tmp_path, {"Enabled": False}) as router:
        router.c_store(source)
        router.rest.delete("/changes")
        router.stop()
        router.config["AIRouter"] |= {"Enabled": True}
        router.start()
        router.wait_state()
        (job,) = router.wait_jobs(source.StudyInstanceUID)
        assert job["state"] == "COMPLETED"


def test_a_canceled_job_stops_and_leaves_nothing(tmp_path: Path) -> None:
    with slide_in_analysis(tmp_path) as analysis:
        router, study, key = analysis.router, analysis.study, analysis.job["key"]
        answer = router.rest.delete(f"/ai/jobs/{key}", headers={"X-Requested-With": "test"})
        assert answer.status_code == 202, answer.text
        (ended,) = router.wait_jobs(study)
        assert (ended["state"], ended["discontinuation"]) == ("CANCELED", "operator")
        again = router.rest.post("/ai/jobs", json={"study": study, "retry": True})
        assert again.json()["jobs"] == [key]
        router.until(lambda: router.jobs(study)[0]["state"] == "COMPLETED", "the retried job")
        assert len(router.results(study)) == 1


def test_a_study_deleted_in_mid_job_does_not_come_back(tmp_path: Path) -> None:
    with slide_in_analysis(tmp_path) as analysis:
        router, study = analysis.router, analysis.study
        assert router.rest.delete(f"/studies/{analysis.job['study_id']}").status_code == 200
        (ended,) = router.wait_jobs(study)
        assert (ended["state"], ended["discontinuation"]) == ("CANCELED", "source deleted")
        assert router.instance_count(study) == 0


def test_a_second_process_on_the_same_state_stays_passive(tmp_path: Path) -> None:
    state = str(tmp_path / "shared-state")
    with (
        RouterProcess(tmp_path / "one", {"StateDirectory": state}) as first,
        RouterProcess(tmp_path / "two", {"StateDirectory": state}) as second,
    ):
        first.wait_state()
        second.until(lambda: "in use by process" in second.ai("health")["reason"], "the second to give way")
        assert second.ai("health")["state"] == "passive"
        assert second.upload(part10(photograph()))["Status"] == "Success"
