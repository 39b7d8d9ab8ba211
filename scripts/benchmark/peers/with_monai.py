"""MONAI: PatchWSIDataset read by OpenSlide, MONAI's DataLoader, a plain loop of inference."""

from typing import Any

import numpy as np
import torch
from common import main
from monai.data import DataLoader, PatchWSIDataset
from monai.transforms import Compose, Lambdad


def predict(job: dict[str, Any], model: torch.nn.Module) -> np.ndarray:
    mean, std = (torch.tensor(job[key]).view(3, 1, 1) for key in ("mean", "std"))
    dataset = PatchWSIDataset(
        [{"image": job["slide"], "location": [y, x]} for x, y in job["places"]],
        patch_size=job["size"],
        patch_level=0,
        transform=Compose([Lambdad("image", lambda image: (torch.as_tensor(image).float() / 255.0 - mean) / std)]),
        include_label=False,
        center_location=False,
        reader="openslide",
    )
    loader = DataLoader(dataset, batch_size=job["batch"], num_workers=job["workers"])
    with torch.inference_mode():
        return np.concatenate([torch.softmax(model(torch.as_tensor(batch["image"])), dim=1) for batch in loader])


if __name__ == "__main__":
    main(predict)
