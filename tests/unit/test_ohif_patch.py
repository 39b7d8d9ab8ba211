"""The script that makes the viewer out of the npm package: all patches or nothing."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ohif_patch
from tests.router_process import ROOT

VIEWER = ROOT / ".cache" / "ohif" / "viewer"

# Text that a patch applies to once, by its pattern.
_PAGE = """<!doctype html><html><head>
<meta content="/assets/a.png"><meta content="/assets/b.xml">
<script>window.PUBLIC_URL="/"</script>
<script rel="preload" as="script" src="/app-config.js"></script>
<script rel="preload" as="script" type="module" src="/init-service-worker.js"></script>
<script>function browserImportFunction(n){return import(n)}window.PUBLIC_URL="/"</script>
"""
_SAMPLES = (
    '__webpack_require__.p = "/"', "browserImportFunction('/dicom-microscopy-viewer/",
    "origin, rowCosines, rowPixelSpacing * (imageCoords[0]",
    "imageCoordsInWorld, columnCosines, columnPixelSpacing * (imageCoords[1]",
    "origin, columnCosines, -columnPixelSpacing / 2", "newOrigin, rowCosines, -rowPixelSpacing / 2",
    "rowDistance / rowPixelSpacing", "columnDistance / columnPixelSpacing",
    "SliceThickness\n  } = PixelMeasures;", "labels.push(findingGroup.ConceptCodeSequence.CodeValue",
)  # fmt: skip


def package(folder: Path, version: str = ohif_patch.VERSION) -> Path:
    """A small package that every patch applies to as often as to the real one."""
    dist = folder / "package" / "dist"
    (dist / "dicom-microscopy-viewer").mkdir(parents=True)
    (dist / "ort").mkdir()
    (dist.parent / "package.json").write_text(json.dumps({"version": version}))
    (dist.parent / "LICENSE").write_text("MIT")
    lines = [";// CONCATENATED MODULE: ../node_modules/@scope/part/index.js", "// ../node_modules/none"]
    for sample in _SAMPLES:
        (times,) = {p.count for p in ohif_patch.PATCHES if re.search(p.pattern, sample)}
        lines += [sample] * times
    (dist / "app.bundle.0f.js").write_text("\n".join(lines))
    viewer = "return _computeAreaOfPolygon(scoord3dCoordinates) * 1000;\n"
    viewer += "var _format = function _format(feature, units, pyramid, affine) {"
    (dist / "dicom-microscopy-viewer" / "dicomMicroscopyViewer.min.js").write_text(viewer)
    (dist / "index.html").write_text(_PAGE + '<link href="/x.png">\n' * 29)
    (dist / "app.css").write_text("src: url(/font.woff2)\n" * 5)
    (dist / "manifest.json").write_text('"src": "/assets/x.png"\n' * 9)
    for unwanted in ("ort/model.js", "sw.js", "app-config.js", "app.bundle.0f.js.map"):
        (dist / unwanted).write_text("unwanted")
    return dist.parent


def test_every_patch_applies_and_every_text_comes_compressed_too(tmp_path: Path) -> None:
    made = tmp_path / "made"
    ohif_patch.patch(package(tmp_path), made)
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert {name for name in files if not name.endswith(".gz")} == {
        "LICENSE", "THIRD-PARTY.txt", "airouter.json", "app.bundle.0f.js", "app.css", "index.html", "manifest.json",
        "dicom-microscopy-viewer/dicomMicroscopyViewer.min.js",
    }  # fmt: skip
    for name in files:
        if name.endswith(".gz"):
            assert gzip.decompress((made / name).read_bytes()) == (made / name.removesuffix(".gz")).read_bytes()
    assert (made / "THIRD-PARTY.txt").read_text().splitlines()[2:] == ["@scope/part"]
    page = (made / "index.html").read_text()
    assert 'src="/ohif/app-config.js"' in page
    assert "init-service-worker" not in page
    assert set(re.findall(r'="(/[^"]*)"', page)) == {
        "/ohif/app-config.js", ohif_patch.BASE, f"{ohif_patch.BASE}x.png", f"{ohif_patch.BASE}assets/a.png",
        f"{ohif_patch.BASE}assets/b.xml",
    }  # fmt: skip
    script = (made / "app.bundle.0f.js").read_text()
    assert "rowCosines, columnPixelSpacing * (imageCoords[0]" in script
    assert "columnDistance / rowPixelSpacing" in script
    assert "PixelMeasures ?? {};" in script


def test_the_manifest_names_the_digest_and_the_inline_scripts(tmp_path: Path) -> None:
    made = tmp_path / "made"
    ohif_patch.patch(package(tmp_path), made)
    about = json.loads((made / "airouter.json").read_text())
    assert about["digest"] == ohif_patch.DIGEST
    assert len(about["inline"]) == 2
    assert all(re.fullmatch(r"sha256-[A-Za-z0-9+/]{43}=", each) for each in about["inline"])


@pytest.mark.parametrize("name", ["app.bundle.0f.js", "index.html", "app.css", "manifest.json"])
@pytest.mark.parametrize("change", ["once more", "once less"])
def test_one_place_more_or_less_and_nothing_is_made(tmp_path: Path, name: str, change: str) -> None:
    source = package(tmp_path)
    path = source / "dist" / name
    text = path.read_text()
    line = next(line for line in reversed(text.splitlines()) if line.strip())
    path.write_text(text + "\n" + line if change == "once more" else text.removesuffix("\n").removesuffix(line))
    with pytest.raises(ohif_patch.Mismatch, match="times, not"):
        ohif_patch.patch(source, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ohif_patch.Mismatch, match=r"3\.14\.0"):
        ohif_patch.patch(package(tmp_path, "3.14.0"), tmp_path / "made")


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "ohif_patch.py"),
        str(package(tmp_path, "1")),
        str(tmp_path / "m"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "version 1" in ended.stderr


def test_what_was_made_of_the_real_package_asks_for_nothing_outside() -> None:
    if not (VIEWER / "airouter.json").exists():
        pytest.skip("the viewer is not installed: run scripts/ohif")
    page = (VIEWER / "index.html").read_text()
    assert {a for a in re.findall(r'(?:src|href)="([^"]+)"', page) if not a.startswith("/ohif/")} == set()
    for name in re.findall(rf'(?:src|href)="{ohif_patch.BASE}([^"]+)"', page):
        if not name.startswith("assets/apple-touch-startup"):  # the package itself lacks one of them
            assert (VIEWER / name).is_file(), name
