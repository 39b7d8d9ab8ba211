"""Quality at acquisition: what is answered on pictures and objects, and what is refused unread."""

import dataclasses
import io
import struct
import time
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian

from airouter.domain import codes
from airouter.domain.model import Fit, HeadKind, ModelClass
from airouter.domain.study import Modality
from airouter.errors import NotInArchive, RequestError
from airouter.imaging.upload import MOST_PIXELS, Fault, Rejected
from airouter.inference.repository import ModelRepository
from airouter.services.quality import MOST_BYTES, NoModel, Quality, QualityCheck
from phantoms import oct
from phantoms.dicom import field_instance, fundus_instance, oct_instance
from phantoms.fundus import REASONS, fundus
from phantoms.fundus_lesions import CLASSES as MASKS
from phantoms.fundus_lesions import lesions
from tests.data import files
from tests.pipelines.oracle import Seen, model
from tests.reference_models import MODELS

NAMES = ("gradable", *REASONS)


def encoded(rgb, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, kind, **options)
    return file.getvalue()


def part10(ds):
    file = io.BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


class Shelf:
    """Files by identifier; what is not for the user is None, what is not there raises."""

    def __init__(self, **stored):
        self.stored = stored
        self.asked = []

    def file(self, instance, headers, most):
        self.asked.append((instance, dict(headers), most))
        if instance not in self.stored:
            raise NotInArchive(instance)
        return self.stored[instance]


def judge(answer, name="demo", **changes):
    about = dataclasses.replace(
        model(Modality.OP, HeadKind.CLASSIFICATION, NAMES, size=(64, 64), fit=Fit.LETTERBOX, codeless=NAMES, **changes),
        name=name,
    )
    return Seen(about, lambda _: np.array(answer))


def check(*judges, shelf=None):
    known = {each.model.name: each for each in judges}
    return QualityCheck({n: j.model for n, j in known.items()}, known.__getitem__, shelf or Shelf())


GOOD = [0.95, 0.05, 0.0, 0.0, 0.0, 0.0]
PHOTO = fundus(320, seed=4).rgb


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_good_photograph_is_gradable(kind):
    found = check(judge(GOOD)).picture(encoded(PHOTO, kind))
    assert isinstance(found, Quality)
    assert (found.kind, found.gradable, found.reasons, found.rating) == ("photograph", True, (), 95.0)
    assert found.model.name == "demo"
    assert 0.5 < found.measures["field_share"] < 1
    assert found.milliseconds > 0


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("out-of-focus", "focus"), ("illumination", "illumination"), ("low-contrast", "contrast"),
        ("artefact", "artefact"), ("field", "field"),
    ],
)  # fmt: skip
def test_a_poor_photograph_says_why(reason, kind):
    answer = [0.1, *(0.9 if name == reason else 0.0 for name in REASONS)]
    found = check(judge(answer)).picture(encoded(PHOTO))
    assert not found.gradable
    (why,) = found.reasons
    assert (why.kind, why.detail, why.blocks) == (kind, reason, True)
    assert why.probability == pytest.approx(0.9)


def test_a_doubt_blocks_nothing():
    found = check(judge([0.7, 0.0, 0.0, 0.6, 0.0, 0.0])).picture(encoded(PHOTO))
    assert found.gradable
    assert [(r.kind, r.blocks) for r in found.reasons] == [("contrast", False)]


def test_a_foreign_models_classes_are_known_by_their_codes():
    seen = judge(GOOD)
    classes = (ModelClass("gradable"), ModelClass("unscharf", codes.OUT_OF_FOCUS), ModelClass("whatever"))
    seen.model = dataclasses.replace(seen.model, head=dataclasses.replace(seen.model.head, classes=classes))
    seen._answer = lambda _: np.array([0.2, 0.8, 0.7])
    assert [r.kind for r in check(seen).picture(encoded(PHOTO)).reasons] == ["focus", "other"]


def test_the_model_is_the_first_that_fits_or_the_named_one():
    other = judge([0.0, 1.0, 0, 0, 0, 0], "zeta")
    slides = dataclasses.replace(model(Modality.SM, HeadKind.CLASSIFICATION, NAMES), name="alpha")
    both = check(judge(GOOD, "beta"), other, Seen(slides, lambda _: None))
    assert both.picture(encoded(PHOTO)).model.name == "beta"
    data = part10(fundus_instance(PHOTO, transfer="raw", seed=1))
    assert both.dicom(data, "zeta").model.name == "zeta"
    assert not both.dicom(data, "zeta").gradable
    for name in ("alpha", "none"):
        with pytest.raises(RequestError, match="cannot judge photographs"):
            both.dicom(data, name)
    assert isinstance(check().picture(encoded(PHOTO)), NoModel)


def test_the_limits_of_the_manifest_hold():
    assert check(judge(GOOD, parameters={"min_pixels": 500})).picture(encoded(PHOTO)).reasons[0].kind == "format"
    dark = np.full((300, 300, 3), 3, np.uint8)
    found = check(judge(GOOD)).picture(encoded(dark))
    assert (found.gradable, found.reasons[0].kind) == (False, "illumination")


def test_a_photograph_lying_on_its_side_is_set_upright():
    seen = []
    watcher = judge(GOOD)
    watcher._answer = lambda image: seen.append(image.copy()) or np.array(GOOD)
    lying = np.ascontiguousarray(np.rot90(PHOTO))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    check(watcher).picture(encoded(PHOTO, "JPEG", quality=100))
    check(watcher).picture(encoded(lying, "JPEG", quality=100, exif=exif))
    assert np.abs(seen[0].astype(int) - seen[1]).mean() < 3


def landmarks(truth):
    """A model that knows where disc and fovea are."""
    about = model(Modality.OP, HeadKind.SEGMENTATION, MASKS, size=(320, 320), fit=Fit.STRETCH)
    answer = np.stack([truth.masks[name].astype(np.float32) for name in MASKS])
    return Seen(dataclasses.replace(about, name="zones"), lambda _: answer)


def test_a_photograph_that_looks_at_macula_and_disc_is_aligned():
    truth = lesions(320, seed=1)
    found = check(judge(GOOD), landmarks(truth)).picture(encoded(truth.rgb))
    assert found.reasons == ()
    away = np.abs(np.array(truth.macula) - 160).max()
    radius = np.sqrt(truth.field.sum() / np.pi)
    assert found.measures["fovea_from_edge_dd"] == pytest.approx((radius - away) / truth.disc_diameter, abs=0.7)
    assert found.measures["disc_from_edge_dd"] < found.measures["fovea_from_edge_dd"] + 4
    assert found.model.name == "demo"


def test_a_photograph_that_looks_past_both_is_told():
    truth = lesions(320, seed=1)
    y, x = np.mgrid[:320, :320]
    disc, fovea = (np.hypot(x - column, y - 160) < 14 for column in (40, 40))
    masks = {**truth.masks, "optic-disc": disc, "fovea": np.roll(fovea, 70, axis=0) & False}
    far = dataclasses.replace(truth, masks=masks)
    found = check(judge(GOOD), landmarks(far)).picture(encoded(truth.rgb))
    assert found.gradable
    assert [(r.kind, r.blocks) for r in found.reasons] == [("alignment", False)]
    assert "fovea not found, optic disc" in found.reasons[0].detail
    none = dataclasses.replace(truth, masks={name: np.zeros_like(disc) for name in MASKS})
    found = check(judge(GOOD), landmarks(none)).picture(encoded(truth.rgb))
    assert "the optic disc was not found and neither was the fovea" in found.reasons[0].detail
    assert check(judge([0.1, 0.9, 0, 0, 0, 0]), landmarks(none)).picture(encoded(truth.rgb)).reasons[0].kind == "focus"


# --- DICOM ---


@pytest.mark.parametrize("transfer", ["raw", "jpeg", "jpeg2000"])
def test_a_photograph_as_dicom(transfer):
    found = check(judge(GOOD)).dicom(part10(fundus_instance(PHOTO, transfer=transfer, seed=1)))
    assert (found.kind, found.gradable) == ("photograph", True)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "MONTAGE", "COLOR"]}, "montage"),
        ({"HorizontalFieldOfView": 200.0}, "wide-field"),
    ],
)
def test_what_no_pipeline_reads_is_not_gradable_and_says_why(changes, why):
    ds = fundus_instance(PHOTO, transfer="raw", seed=1)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    found = check(judge(GOOD)).dicom(part10(ds))
    assert not found.gradable
    assert found.reasons[0].kind == "format"
    assert why in found.reasons[0].detail


def tomography(frames, **changes):
    return check().dicom(part10(oct_instance(frames, axial_um=3.5, lateral_um=11.7, **changes)))


def volume(signal=0.0):
    return oct.volume(5, 496, 512, seed=4, noise=oct.Noise(signal_db=signal)).frames


def test_a_tomography_needs_no_model():
    found = tomography(volume())
    assert (found.kind, found.gradable, found.model, found.rating) == ("tomography", True, None, None)
    assert found.measures["lowest_signal_db"] > 5
    assert (found.measures["frames"], found.measures["frames_looked_at"]) == (5, 5)


def test_a_weak_signal_is_told_and_a_lost_one_blocks():
    weak, lost = tomography(volume(-19)), tomography(volume(-24))
    assert [(r.kind, r.blocks) for r in weak.reasons] == [("signal", False)]
    assert weak.gradable
    assert [(r.kind, r.blocks) for r in lost.reasons] == [("signal", True)]
    assert "dB of signal to noise" in lost.reasons[0].detail
    assert not lost.gradable


def test_missing_scans_and_a_retina_cut_off_block():
    frames = volume().copy()
    frames[3] = 0
    found = tomography(frames)
    assert [(r.kind, r.detail, r.blocks) for r in found.reasons] == [("missing", "nothing is in B-scans 4", True)]
    high = np.stack([np.vstack([f[260:], np.zeros((260, 512), np.uint8)]) for f in volume()])
    assert ("field", True) in [(r.kind, r.blocks) for r in tomography(high).reasons]


def test_a_tomography_without_spacing_says_why():
    found = tomography(volume(), omit_spacing=True)
    assert not found.gradable
    assert "Pixel Spacing is missing" in found.reasons[0].detail


def test_other_objects_are_of_another_kind():
    found = check(judge(GOOD)).dicom(part10(field_instance(seed=1)))
    assert isinstance(found, Rejected)
    assert found.fault is Fault.OTHER_KIND


# --- stored instances ---


def test_a_stored_instance_is_asked_for_in_the_users_name():
    shelf = Shelf(a=part10(fundus_instance(PHOTO, transfer="raw", seed=1)), denied=None, huge=MOST_BYTES + 1)
    service = check(judge(GOOD), shelf=shelf)
    assert service.stored("a", {"authorization": "Basic x"}).gradable
    assert shelf.asked == [("a", {"authorization": "Basic x"}, MOST_BYTES)]
    assert service.stored("denied", {}) is None
    assert service.stored("gone", {}) is None  # and so nobody learns which of the two it is
    assert service.stored("huge", {}).fault is Fault.TOO_LARGE


# --- hostile ---


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side):
    """A few kilobytes that promise, and hold, side x side pixels."""
    deflater = zlib.compressobj(9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    rows = b"".join(deflater.compress(bytes(3 * side + 1)) for _ in range(8)) + deflater.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8000, 12000, 60000])
def test_a_bomb_is_refused_before_it_is_decoded(side):
    assert side * side > MOST_PIXELS
    began = time.perf_counter()
    found = check(judge(GOOD)).picture(png_bomb(side))
    assert found.fault is Fault.TOO_LARGE
    assert time.perf_counter() - began < 0.5


def test_a_deflated_object_is_refused_unread():
    ds = fundus_instance(PHOTO, transfer="raw", seed=1)
    data = part10(ds)
    meta = pydicom.dcmread(io.BytesIO(data)).file_meta
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    head = io.BytesIO()
    head.write(bytes(128) + b"DICM")
    pydicom.filewriter.write_file_meta_info(head, meta)
    deflater = zlib.compressobj(9, wbits=-15)
    bomb = head.getvalue() + b"".join(deflater.compress(bytes(1 << 20)) for _ in range(64)) + deflater.flush()
    found = check(judge(GOOD)).dicom(bomb)
    assert isinstance(found, Rejected)
    assert "deflated" in found.reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        encoded(PHOTO)[:400],
        encoded(PHOTO, "JPEG")[:50],
        encoded(PHOTO, "TIFF"),
        encoded(PHOTO, "GIF"),
    ],
)
def test_what_is_no_picture_is_unreadable(data):
    assert check(judge(GOOD)).picture(data).fault is Fault.UNREADABLE


@pytest.mark.parametrize("mode", ["L", "I;16", "1"])
def test_a_grey_picture_is_of_another_kind(mode):
    file = io.BytesIO()
    grey = Image.fromarray(PHOTO[..., 1])
    (Image.fromarray(PHOTO[..., 1].astype(np.uint16)) if mode == "I;16" else grey.convert(mode)).save(file, "PNG")
    assert check(judge(GOOD)).picture(file.getvalue()).fault is Fault.OTHER_KIND


@pytest.mark.parametrize("cut", [0, 100, 131, 140, 500, 3000, -200])
def test_a_cut_object_is_unreadable(cut):
    data = part10(fundus_instance(PHOTO, transfer="raw", seed=1))
    assert check(judge(GOOD)).dicom(data[:cut]).fault is Fault.UNREADABLE


def test_bytes_that_go_wrong_are_never_a_failure():
    """Every byte of a header may be anything: an answer comes, or a refusal."""
    data = bytearray(part10(fundus_instance(PHOTO[:64, :64].copy(), transfer="raw", seed=1)))
    rng = np.random.default_rng(0)
    service = check(judge(GOOD))
    for _ in range(300):
        broken = bytearray(data)
        for at in rng.integers(128, 2600, 4):
            broken[at] = rng.integers(256)
        assert isinstance(service.dicom(bytes(broken)), Quality | Rejected)


# --- the model that comes with the router, and real images ---


def shipped():
    models = ModelRepository(MODELS)
    names = {"fundus-quality", "fundus-lesions"} & set(models.names())
    return QualityCheck({name: models.get(name).model for name in names}, models.get, Shelf())


def test_real_photographs_get_an_answer():
    service = shipped()
    for path in files("fundus/*.jpg"):
        found = service.picture(path.read_bytes())
        assert isinstance(found, Quality)
        assert found.gradable or found.reasons
