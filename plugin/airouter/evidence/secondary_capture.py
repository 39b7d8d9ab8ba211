"""Secondary Capture: a picture for people, beside the objects that machines read and never instead of them."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from airouter.domain.picture import Picture
from airouter.evidence.composite import composite, refer, source_image
from airouter.evidence.identity import Identity, clip
from airouter.evidence.source import one_eye


def secondary_capture(picture: Picture, source: Dataset, identity: Identity, series_number: int) -> Dataset:
    """A colour picture (PS3.3 A.8.1). `source`: header of the image it was made from."""
    ds = composite(
        source,
        identity,
        role=picture.role,
        label=picture.label,
        sop_class=SecondaryCaptureImageStorage,
        modality="OT",
        series_number=series_number,
    )
    rows, columns, _ = picture.rgb.shape
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.DerivationDescription = clip(f"{picture.label}, drawn by {ds.ManufacturerModelName}", 1024)
    ds.SourceImageSequence = [source_image(source)]
    ds.PatientOrientation = None
    ds.Laterality = one_eye(source)  # of a series only R and L (C.7.3.1)
    ds.BurnedInAnnotation = "NO"  # what identifies a patient; the picture's own words do not
    ds.RecognizableVisualFeatures = "NO"
    ds.LossyImageCompression = "00"
    if str(source.get("LossyImageCompression") or "") == "01":
        ds.LossyImageCompression = "01"  # once lost, always lost (C.7.6.1.1.5)
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if source.get(keyword):
                setattr(ds, keyword, source.get(keyword))
    ds.Rows, ds.Columns = rows, columns
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    data = np.ascontiguousarray(picture.rgb).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    refer(ds, [source])
    return ds
