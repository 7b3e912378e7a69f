"""Volumes of a pod as the kubelet makes them: secrets and configuration behind `..data`, empty directories.

Owns: directories and the swap of `..data`. Never knows: containers.
"""

import itertools
import os
import pathlib
import shutil

COUNTER = itertools.count(1)


class Volumes:
    """The volumes of one pod below a directory; `objects` holds the data of each Secret and ConfigMap by name."""

    def __init__(self, spec, objects, directory, csi):
        self.spec, self.objects, self.directory, self.csi = spec, objects, directory, csi
        self.group = spec.get("securityContext", {}).get("fsGroup", 0)
        for volume in spec.get("volumes", []):
            (directory / volume["name"]).mkdir()
        self.sync()

    def path(self, name):
        path = self.directory / name
        if not path.exists():  # of a volumeClaimTemplate
            path.mkdir()
            os.chown(path, 0, self.group)
            path.chmod(0o2775)
        return path

    def sync(self):
        """Writes what has changed, as the kubelet does once a minute: into a new directory, which takes the place of `..data`."""
        for volume in self.spec.get("volumes", []):
            path = self.directory / volume["name"]
            if "emptyDir" in volume:
                path.chmod(0o777)
                continue
            files, mode, group = self.files(volume)
            if self.present(path) != files:
                self.swap(path, files, mode, group)

    def files(self, volume):
        """Name and content of each file, their mode, and their group."""
        if "secret" in volume:
            return dict(self.objects[volume["secret"]["secretName"]]), volume["secret"].get("defaultMode", 0o644), self.group
        if "configMap" in volume:
            return dict(self.objects[volume["configMap"]["name"]]), volume["configMap"].get("defaultMode", 0o644), self.group
        if "csi" in volume:
            return self.issued(volume), 0o440, int(volume["csi"]["volumeAttributes"]["csi.cert-manager.io/fs-group"])
        projected = volume["projected"]
        files = {}
        for source in projected["sources"]:
            (each,) = source.values()
            files |= {item["path"]: self.objects[each["name"]][item["key"]] for item in each["items"]}
        return files, projected.get("defaultMode", 0o644), self.group

    def issued(self, volume):
        """What the CSI driver has made for this pod; it makes new files only when they are to be renewed."""
        return dict(self.csi(volume["csi"]["volumeAttributes"]))

    def present(self, path):
        data = path / "..data"
        return {each.name: each.read_text() for each in data.iterdir()} if data.exists() else None

    def swap(self, path, files, mode, group):
        version = path / f"..{next(COUNTER)}"
        version.mkdir(mode=0o755)
        for name, content in files.items():
            (version / name).write_text(content)
            os.chown(version / name, 0, group)
            (version / name).chmod(mode)
        before = (path / "..data").resolve() if (path / "..data").exists() else None
        (path / "..data_tmp").symlink_to(version.name)
        (path / "..data_tmp").rename(path / "..data")
        for name in files:
            if not (path / name).is_symlink():
                (path / name).symlink_to(pathlib.Path("..data") / name)
        if before:
            shutil.rmtree(before)
