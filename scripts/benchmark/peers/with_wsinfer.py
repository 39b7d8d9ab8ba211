"""WSInfer: its own run_inference on a folder with one slide, patch positions given as its patch step writes them."""

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from common import main
from wsinfer.modellib import run_inference
from wsinfer_zoo.client import ModelConfiguration, TransformConfigurationItem


def predict(job: dict[str, Any], model: torch.nn.Module) -> np.ndarray:
    with tempfile.TemporaryDirectory() as name:
        slides, results = Path(name, "slides"), Path(name, "results")
        (results / "patches").mkdir(parents=True)
        slides.mkdir()
        (slides / "slide.dcm").symlink_to(job["slide"])
        with h5py.File(results / "patches" / "slide.h5", "w") as file:
            data = file.create_dataset("/coords", data=np.array(job["places"], dtype=np.int64))
            data.attrs["patch_size"] = job["size"]
            data.attrs["patch_level"] = 0
            data.attrs["patch_spacing_um_px"] = job["spacing_um"]
        run_inference.run_inference(
            slides, results, _model(job, model, Path(name)), batch_size=job["batch"], num_workers=job["workers"]
        )
        table = pd.read_csv(results / "model-outputs-csv" / "slide.csv")
    return table[[f"prob_class{number}" for number in range(job["classes"])]].to_numpy(np.float32)


def _model(job: dict[str, Any], model: torch.nn.Module, folder: Path) -> Any:
    """TorchScript, the only form WSInfer takes; a session of ONNX Runtime is handed in where it would load that."""
    size = job["size"]
    config = ModelConfiguration(
        architecture=job["kind"],
        num_classes=job["classes"],
        class_names=[f"class{number}" for number in range(job["classes"])],
        patch_size_pixels=size,
        spacing_um_px=job["spacing_um"],
        transform=[
            TransformConfigurationItem("ToTensor", None),
            TransformConfigurationItem("Normalize", {"mean": job["mean"], "std": job["std"]}),
        ],
    )
    path = folder / "model.pt"
    if job["backend"] == "torch":
        torch.jit.script(model).save(str(path))
    else:
        run_inference.get_pretrained_torch_module = lambda **_: model
    return SimpleNamespace(config=config, model_path=str(path))


if __name__ == "__main__":
    main(predict)
