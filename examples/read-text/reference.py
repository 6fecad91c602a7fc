#!/usr/bin/env python3
"""Reads pictures with the models' own Python package and prints what it read as JSON.

    reference.py PICTURE...

The package runs in a virtual environment of its own under `.cache/read-text/venv`, made on first use. The output has, for
each picture by name, its lines in the package's order: text, score and the four corners.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".cache" / "read-text" / "venv"

# `opencv-python-headless` stands in for `opencv-python`, which wants libraries of a desktop: hence `--no-deps` below.
NEEDS = [
    "numpy==2.4.6",
    "onnxruntime==1.31.1",
    "opencv-python-headless==5.0.0.93",
    "pillow==13.0.0",
    "pyclipper==1.4.0",
    "PyYAML==6.0.3",
    "shapely==2.2.0",
    "six==1.17.0",
    "tqdm==4.70.1",
]
PACKAGE = "rapidocr-onnxruntime==1.4.4"


def python_of_venv():
    python = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ready = VENV / "ready"
    if ready.is_file() and ready.read_text() == "\n".join([*NEEDS, PACKAGE]):
        return python
    print(f"making {VENV}", file=sys.stderr)
    venv.create(VENV, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in (NEEDS, ["--no-deps", "--ignore-requires-python", PACKAGE]):
        if subprocess.run([*pip, *packages], stdin=subprocess.DEVNULL, check=False).returncode != 0:
            sys.exit("error: pip could not install the reference package; is there a network?")
    ready.write_text("\n".join([*NEEDS, PACKAGE]))
    return python


def read(paths):
    from rapidocr_onnxruntime import RapidOCR

    reader = RapidOCR()
    pictures = {}
    for path in paths:
        lines, _ = reader(path)
        pictures[Path(path).stem] = [
            {"text": text, "score": round(float(score), 4), "quad": [[float(x), float(y)] for x, y in corners]}
            for corners, text, score in lines or []
        ]
    json.dump(pictures, sys.stdout, ensure_ascii=False, indent=1)
    print()


def main():
    if sys.argv[1:2] == ["--inside"]:
        read(sys.argv[2:])
        return 0
    if not sys.argv[1:]:
        sys.exit(__doc__)
    return subprocess.run([str(python_of_venv()), __file__, "--inside", *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
