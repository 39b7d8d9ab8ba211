"""TIAToolbox: PatchPredictor on the slide, with a mask of the very tiles."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from common import main, transform
from tiatoolbox.models.architecture.vanilla import CNNModel
from tiatoolbox.models.engine.io_config import IOPatchPredictorConfig
from tiatoolbox.models.engine.patch_predictor import PatchPredictor
from tiatoolbox.models.models_abc import ModelABC
from tiatoolbox.wsicore.wsireader import WSIReader


class _Net(ModelABC):
    """The network behind the toolbox's interface, with its own way to run a batch."""

    def __init__(self, net: torch.nn.Module, job: dict[str, Any]) -> None:
        super().__init__()
        self.net = net
        chain = transform(job)
        self.preproc_func = lambda image: chain(image).permute(1, 2, 0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.net(images), -1)

    @staticmethod
    def infer_batch(model: torch.nn.Module, batch_data: torch.Tensor, *, device: str = "cpu") -> np.ndarray:
        return CNNModel.infer_batch(model, batch_data, device=device)


def predict(job: dict[str, Any], model: torch.nn.Module) -> np.ndarray:
    size = job["size"]
    tiles = -(-job["side"] // size)
    mask = np.zeros((tiles, tiles), np.uint8)
    for x, y in job["places"]:
        mask[y // size, x // size] = 1
    resolution = [{"units": "mpp", "resolution": job["spacing_um"]}]
    with tempfile.TemporaryDirectory() as name:
        predictor = PatchPredictor(_Net(model, job), batch_size=job["batch"], num_workers=job["workers"])
        output = predictor.run(
            [WSIReader.open(Path(job["folder"]))],
            masks=[mask],
            ioconfig=IOPatchPredictorConfig(
                input_resolutions=resolution,
                output_resolutions=resolution,
                patch_input_shape=(size, size),
                stride_shape=(size, size),
            ),
            patch_mode=False,
            save_dir=Path(name, "out"),
            output_type="zarr",
            return_probabilities=True,
        )
        path = next(iter(output.values())) if isinstance(output, dict) else output
        return np.asarray(zarr.open(str(path))["probabilities"][:])


if __name__ == "__main__":
    main(predict)
