"""The pipelines with the models we ship, on phantoms: the whole path works and its numbers are in the right region.

The tolerances are those of small models on synthetic images; the models' cards say how good they are on real ones.
"""

from pathlib import Path

import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.imaging import etdrs
from airouter.imaging.etdrs import Ring, Side
from airouter.inference.manifest import load
from airouter.inference.repository import ModelRepository
from airouter.pipelines import PIPELINES, problem
from phantoms import fundus, oct, slide
from phantoms.dicom import fundus_instance, oct_instance, slide_instances
from tests.pipelines.oracle import Progress, job, opened, value

MODELS = Path(__file__).resolve().parents[2] / "models"
SHIPPED = {
    "nuclei": "nuclear-positivity",
    "oct-layers": "retinal-thickness",
    "fundus-quality": "fundus-quality",
    "slide-embedding": "similar-cases",
}


def predictor(name):
    if not (MODELS / name / "manifest.yaml").exists():
        pytest.skip(f"models/{name} is not there")
    return ModelRepository(MODELS).get(name)


def analysed(name, datasets, **parameters):
    return PIPELINES[SHIPPED[name]].run(job(**parameters), opened(datasets), predictor(name), Progress())


def run(name, datasets, **parameters):
    result = analysed(name, datasets, **parameters)
    assert isinstance(result, Result), result
    assert result.execution_provider == "CPUExecutionProvider"
    return result


@pytest.mark.parametrize(("name", "pipeline"), SHIPPED.items())
def test_the_model_fits_its_pipeline(name, pipeline):
    if not (MODELS / name / "manifest.yaml").exists():
        pytest.skip(f"models/{name} is not there")
    assert problem(PIPELINES[pipeline], load(MODELS / name)) is None


def test_nuclei_of_an_hdab_slide():
    truth = slide.slide(900, 1000, 0.5, "H-DAB", 1800.0, 0.3, seed=21)
    result = run("nuclei", slide_instances(truth.rgb, 0.5, levels=2, stain="H-DAB", seed=1))
    count, positive = int(truth.labels.max()), int(truth.positive.sum())
    assert value(result, "tissue", codes.NUCLEI_COUNT) == pytest.approx(count, rel=0.15)
    assert value(result, "tissue", codes.POSITIVE_FRACTION) == pytest.approx(100 * positive / count, abs=5)


def test_nuclei_of_an_h_and_e_slide():
    truth = slide.slide(700, 700, 0.5, "H&E", 1800.0, seed=22)
    result = run("nuclei", slide_instances(truth.rgb, 0.5, levels=2, stain="H&E", seed=1))
    assert value(result, "tissue", codes.NUCLEI_COUNT) == pytest.approx(truth.labels.max(), rel=0.15)


def test_layers_of_a_volume():
    truth = oct.volume(19, 480, 384, 3.9, 6400 / 384, 6400 / 19, "L", 5, True, noise=oct.Noise(looks=10))
    result = run(
        "oct-layers",
        [oct_instance(truth.frames, axial_um=3.9, lateral_um=6400 / 384, slice_um=6400 / 19, laterality="L", seed=1)],
    )
    fields = etdrs.fields(truth.thickness_um, truth.slice_um, truth.lateral_um)
    assert value(result, "retina", codes.CST) == pytest.approx(fields[Ring.CENTRAL, Side.NONE].mean, abs=15)
    assert value(result, "retina", codes.TOTAL_VOLUME) == pytest.approx(etdrs.volume_mm3(fields), rel=0.05)
    assert value(result, "fluid", codes.FLUID_VOLUME) == pytest.approx(truth.fluid_ul, rel=0.35, abs=0.01)


def test_quality_of_photographs():
    rated = {}
    for reason in (None, "out-of-focus", "illumination"):
        ratings = []
        for seed in range(4):
            truth = fundus.fundus(512, seed=900 + seed, quality=reason, severity=0.95)
            result = analysed("fundus-quality", [fundus_instance(truth.rgb, seed=seed)])
            if isinstance(result, Ungradable):  # so dark that no field is lit: refused before the model is asked
                assert (reason, "no lit field" in result.reason) == ("illumination", True)
                ratings.append(0.0)
            else:
                ratings.append(value(result, "quality", codes.QUALITY_RATING))
        rated[reason] = float(np.mean(ratings))
    assert rated[None] > 60
    assert max(rated["out-of-focus"], rated["illumination"]) < 40


def test_slides_that_look_alike_point_alike():
    vectors = []
    for density, seed in ((700.0, 31), (5000.0, 32), (700.0, 33)):
        truth = slide.slide(640, 640, 0.5, "H&E", density, seed=seed)
        found = run("slide-embedding", slide_instances(truth.rgb, 0.5, levels=2, stain="H&E", seed=seed)).embedding
        assert len(found.regions) == len(found.fields) > 0
        vectors.append(found.slide)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1]
