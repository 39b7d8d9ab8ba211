"""The DICOMweb facade on a real Orthanc: what OHIF needs, and what Orthanc's own plugin of Debian 12 gets wrong."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO

from tests.e2e.samples import macula, stained_slide
from tests.orthanc_process import PASSWORD, USER
from tests.router_process import RouterProcess

pytestmark = pytest.mark.orthanc

ROOT = "/ai/dicom-web"
ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"


@pytest.fixture(scope="module")
def slide(router: RouterProcess) -> list[Dataset]:
    """An analysed slide."""
    levels = stained_slide(768, seed=29)[1]
    router.c_store(*levels)
    router.wait_jobs(str(levels[0].StudyInstanceUID))
    return levels


def at(ds: Dataset) -> str:
    return f"{ROOT}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def bodies(answer: httpx.Response) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    found = re.search(r"boundary=(\w+)", answer.headers["content-type"])
    assert found
    pieces = answer.content.split(b"--" + found[1].encode())[1:-1]
    return [piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in pieces]


def fetched(router: RouterProcess, told: dict[str, Any]) -> Dataset:
    """The header behind its JSON, bulk values fetched."""

    def bulk(tag: str, vr: str, uri: str) -> bytes:
        answer = router.rest.get(uri, headers={"Accept": "application/octet-stream"})
        assert answer.status_code == 200, answer.text
        return answer.content

    return Dataset.from_json(json.dumps(told), bulk)


def test_coordinates_of_annotations_are_whole(router: RouterProcess, slide: list[Dataset]) -> None:
    study = str(slide[0].StudyInstanceUID)
    drawn = {ds.SOPInstanceUID: ds for ds in router.evidence(study) if ds.SOPClassUID == ANNOTATIONS}
    assert drawn
    for ds in drawn.values():
        answer = router.rest.get(at(ds) + "/metadata")
        assert answer.status_code == 200, answer.text
        (told,) = answer.json()
        header = fetched(router, told)
        for made, stored in zip(header.AnnotationGroupSequence, ds.AnnotationGroupSequence, strict=True):
            keyword = "PointCoordinatesData" if "PointCoordinatesData" in stored else "DoublePointCoordinatesData"
            assert made[keyword].value == stored[keyword].value
            points = np.frombuffer(stored[keyword].value, "<f4" if keyword.startswith("Point") else "<f8")
            assert len(points) >= 2 * stored.NumberOfAnnotations


def test_every_header_of_a_study_comes_whole(router: RouterProcess, slide: list[Dataset]) -> None:
    study = str(slide[0].StudyInstanceUID)
    stored = {ds.SOPInstanceUID: ds for ds in (*slide, *router.evidence(study))}
    told = {
        str(each["00080018"]["Value"][0]): each for each in router.rest.get(f"{ROOT}/studies/{study}/metadata").json()
    }
    assert set(told) == set(stored)
    for uid, ds in stored.items():
        assert {e.keyword for e in fetched(router, told[uid])} >= {
            e.keyword for e in ds if e.keyword not in ("PixelData", "FloatPixelData", "")
        }


def test_frames_are_the_stored_bytes(router: RouterProcess, slide: list[Dataset]) -> None:
    for ds in slide:
        count = int(ds.NumberOfFrames)
        answer = router.rest.get(f"{at(ds)}/frames/{','.join(str(n) for n in range(1, count + 1))}")
        if ds.file_meta.TransferSyntaxUID.is_encapsulated:
            stored = list(generate_frames(ds.PixelData, number_of_frames=count))
        else:
            length = ds.Rows * ds.Columns * ds.SamplesPerPixel
            stored = [ds.PixelData[n * length : (n + 1) * length] for n in range(count)]
        assert bodies(answer) == stored
        assert f"transfer-syntax={ds.file_meta.TransferSyntaxUID}".encode() in answer.content[:300]


def test_frames_of_a_mask_can_be_read(router: RouterProcess, slide: list[Dataset]) -> None:
    (mask, *_) = [ds for ds in router.evidence(str(slide[0].StudyInstanceUID)) if ds.Modality == "SEG"]
    (bits,) = bodies(router.rest.get(f"{at(mask)}/frames/1"))
    found = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[: mask.Rows * mask.Columns]
    frames = mask.pixel_array.reshape(-1, mask.Rows, mask.Columns)
    assert np.array_equal(found.reshape(mask.Rows, mask.Columns), frames[0])


def test_a_file_is_the_stored_one(router: RouterProcess, slide: list[Dataset]) -> None:
    (body,) = bodies(router.rest.get(at(slide[-1])))
    assert pydicom.dcmread(DicomBytesIO(body)).SOPInstanceUID == slide[-1].SOPInstanceUID


def test_a_list_of_fields_is_understood_as_browsers_write_it(router: RouterProcess, slide: list[Dataset]) -> None:
    study = str(slide[0].StudyInstanceUID)
    answer = router.rest.get(
        f"{ROOT}/studies?limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060&StudyInstanceUID={study}"
    )
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()
    assert found["0020000D"]["Value"] == [study]
    assert "SM" in found["00080061"]["Value"][0] or "SM" in found["00080061"]["Value"]
    series = router.rest.get(f"{ROOT}/studies/{study}/series?includefield=00080021%2C0008103E").json()
    assert all("0008103E" in each for each in series if each["00080060"]["Value"] != ["SM"])
    assert router.rest.get(f"{ROOT}/studies?StudyInstanceUID=1.2.3.4").json() == []


def test_many_tiles_at_once_are_all_answered(router: RouterProcess, slide: list[Dataset]) -> None:
    ds = max(slide, key=lambda level: int(level.NumberOfFrames))
    count = int(ds.NumberOfFrames)

    def tile(n: int) -> int:
        address = f"{router.url}{at(ds)}/frames/{n % count + 1}"
        return httpx.get(address, auth=(USER, PASSWORD), timeout=60, trust_env=False).status_code

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(tile, range(160))) == [200] * 160


def test_what_was_deleted_is_not_there(router: RouterProcess) -> None:
    ds = macula(3, 400.0)
    router.c_store(ds)
    assert len(bodies(router.rest.get(f"{at(ds)}/frames/1"))) == 1
    router.wait_jobs(str(ds.StudyInstanceUID))
    (study,) = router.rest.post("/tools/lookup", content=str(ds.StudyInstanceUID).encode()).json()
    assert router.rest.delete(study["Path"]).status_code == 200
    assert router.rest.get(f"{at(ds)}/metadata").status_code == 404
    router.until(lambda: router.rest.get(f"{at(ds)}/frames/1").status_code == 404, "the frame is gone", 30)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/1.2.3/metadata", 404),
        ("/studies/x/metadata", 422),
        ("/studies/1.2.3/series/1/instances/2/frames/1", 404),
    ],
)
def test_errors_are_json(router: RouterProcess, path: str, status: int) -> None:
    answer = router.rest.get(ROOT + path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"reason", "advice"}


def test_nobody_reads_without_a_password(router: RouterProcess, slide: list[Dataset]) -> None:
    for path in (f"{at(slide[0])}/frames/1", f"{at(slide[0])}/metadata", "/ohif/"):
        assert httpx.get(router.url + path, trust_env=False).status_code == 401
