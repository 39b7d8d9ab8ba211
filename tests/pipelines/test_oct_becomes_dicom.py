"""What the pipelines on retinal layers find, written and read back: report, segmentation, maps, pictures, chart."""

import functools

import highdicom as hd
import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.job import Source
from airouter.domain.study import Modality
from airouter.imaging.visit import History
from airouter.pipelines import PIPELINES
from phantoms.oct_disc import disc_cube
from phantoms.oct_flat import Ellipsoid, flat
from phantoms.oct_layers import Disease, Patch, macula
from tests.dciodvfy import assert_conformant
from tests.pipelines import test_nerve_fibre_layer, test_rnfl_progression
from tests.pipelines.oracle import Progress
from tests.pipelines.retinas import instance, oracle
from tests.pipelines.test_results_become_dicom import NOW, analysed, groups, pair, read_back, write
from tests.samples import job

OPM = "1.2.840.10008.5.1.4.1.1.81.1"


def stored(objects):
    """By role; what the validator knows is validated."""
    known = [each for each in objects if each.dataset.SOPClassUID != OPM]
    assert {each.role for each in objects} - {each.role for each in known} == {
        each.role for each in objects if each.dataset.SOPClassUID == OPM
    }
    return read_back(known), {e.role: e.dataset for e in objects if e.dataset.SOPClassUID == OPM}


def check(report, finding):
    numbers, graphic = groups(report)[pair(finding.finding)]
    assert graphic == "POLYLINE"  # a closed one: there is no POLYGON on an image
    assert numbers == {pair(m.name): pytest.approx(m.value, rel=1e-6) for m in finding.measurements}


@functools.cache
def oedema():
    bodies = (Ellipsoid("irf", 0.3, 0.1, 90.0, 0.5, 0.6, 40.0), Ellipsoid("srf", 0.0, 0.0, 225.0, 1.0, 1.0, 30.0))
    return flat(25, 200, 128, axial_um=2.5, ilm_um=100.0, bodies=bodies)


@pytest.mark.parametrize("changes", [{}, {"laterality": None}, {"slice_um": None}])
def test_macular_oedema(changes):
    truth = oedema()
    result, objects = analysed("macular-oedema", [instance(truth, **changes)], oracle(truth))
    found, maps = stored(objects)
    for finding in result.findings:
        check(found["report"], finding)
    segmentation = hd.seg.Segmentation.from_dataset(found["layers"])
    labels = [segmentation.get_segment_description(n).segment_label for n in segmentation.segment_numbers]
    assert "Intraretinal fluid" in labels and "Subretinal fluid" in labels
    (made,) = result.segmentations
    pixels = segmentation.get_pixels_by_source_frame(
        result.segmentations[0].source, list(made.frames), combine_segments=True, ignore_spatial_locations=True
    )
    assert np.array_equal(pixels, made.mask)
    assert ("thickness-map" in maps) == (changes == {})
    assert ("thickness-picture" in found) == ("slice_um" not in changes)


def test_drusen_and_atrophy():
    truth = macula(25, 260, 100, 5.0, 65.0, 260.0, seed=6, disease=Disease(atrophy=(Patch(0.6, 0.1, 0.8),)))
    result, objects = analysed("drusen-atrophy", [instance(truth)], oracle(truth))
    found, _ = stored(objects)
    for finding in result.findings:
        check(found["report"], finding)
    assert {"layers", "drusen-picture", "atrophy-picture"} <= set(found)
    numbers, _ = groups(found["report"])[pair(codes.GEOGRAPHIC_ATROPHY)]
    assert numbers["131310", "DCM"] > 0


def test_a_circle_scan():
    truth = test_nerve_fibre_layer.around()
    result, objects = analysed("nerve-fibre-layer", [test_nerve_fibre_layer.circle_instance(truth)], oracle(truth.scan))
    found, maps = stored(objects)
    assert not maps
    texts = [str(e.value) for e in found["report"].iterall() if e.keyword == "CodeValue"]
    assert {c.value for c in (codes.RNFL_AVERAGE, codes.RNFL_CLOCK_9, codes.GARWAY_HEATH_SECTORS)} <= set(texts)
    assert len(result.findings) == 2


@pytest.mark.parametrize("truth", [disc_cube(31, 260, 100, 5.5, seed=1).scan, macula(27, 260, 100, 5.0, 65.0, 250.0)])
def test_volumes_of_disc_and_macula(truth):
    result, objects = analysed("nerve-fibre-layer", [instance(truth)], oracle(truth))
    found, maps = stored(objects)
    assert set(maps) == {m.role for m in result.thickness_maps}
    assert {p.role for p in result.pictures} <= set(found)
    assert maps


def test_a_progression():
    past, knows = test_rnfl_progression.history(test_rnfl_progression.FALLING)
    assert isinstance(past, History)
    pipeline = PIPELINES["rnfl-progression"]
    volume = past.current
    result = pipeline.run(job(), past, knows, Progress())
    about = job(
        pipeline="rnfl-progression",
        modality=Modality.OPT,
        study_uid=volume.header.StudyInstanceUID,
        sources=(Source("id-0", volume.instance_uid, "digest"),),
    )
    objects = write(about, knows.model, result, {volume.instance_uid: volume.header}, now=NOW)
    for each in objects:
        assert_conformant(each.dataset)
    assert "rnfl-trend" in {each.role for each in objects}
