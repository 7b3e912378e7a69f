"""What the agent's injector makes of a pod with its annotations: containers, volumes and the agent's configuration.

Owns: that mutation, for the annotations that deploy/kubernetes uses; any other is an error. Never knows: processes.
"""

import copy
import json

PREFIX = "vault.hashicorp.com/"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
IMAGE = "openbao/openbao:2"
READ = {"agent-inject", "role", "agent-init-first", "agent-inject-containers", "secret-volume-path", "agent-run-as-user",
        "agent-run-as-group", "template-static-secret-render-interval"}
FILES = ("agent-inject-secret-", "agent-inject-template-", "agent-inject-perms-")


def inject(metadata, spec, address):
    """The pod as it is created, and the text of the agent's configuration for its init container and its sidecar."""
    annotations = {key.removeprefix(PREFIX): value for key, value in metadata["annotations"].items() if key.startswith(PREFIX)}
    unknown = [key for key in annotations if key not in READ and not key.startswith(FILES)]
    assert not unknown and annotations["agent-inject"] == annotations["agent-init-first"] == "true", unknown
    path = annotations["secret-volume-path"]
    names = [key.removeprefix(FILES[0]) for key in annotations if key.startswith(FILES[0])]
    configuration = {
        "vault": {"address": address},
        "auto_auth": {"method": [{"type": "kubernetes", "mount_path": "auth/kubernetes",
                                  "config": {"role": annotations["role"], "token_path": f"{ACCOUNT}/token"}}]},
        "template_config": {"static_secret_render_interval": annotations["template-static-secret-render-interval"]},
        "template": [{"contents": annotations[FILES[1] + name], "destination": f"{path}/{name}", "perms": annotations[FILES[2] + name],
                      "left_delimiter": "{{", "right_delimiter": "}}"} for name in names],
    }
    pod = copy.deepcopy(spec)
    mount = {"name": "vault-secrets", "mountPath": path}
    for container in pod["initContainers"] + pod["containers"]:
        if container["name"] in annotations["agent-inject-containers"].split(","):
            container.setdefault("volumeMounts", []).append(mount)
    agent = {
        "image": IMAGE,
        "securityContext": {"runAsUser": int(annotations["agent-run-as-user"]), "runAsGroup": int(annotations["agent-run-as-group"]),
                            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [mount, {"name": "home", "mountPath": "/home/vault"},
                         {"name": "vault-config", "mountPath": "/vault/configs", "readOnly": True},
                         {"name": "account", "mountPath": ACCOUNT, "readOnly": True}],
        "env": [{"name": "HOME", "value": "/home/vault"}],
    }
    pod["initContainers"].insert(0, agent | {"name": "vault-agent-init", "args": ["-config=/vault/configs/init.json"]})
    pod["containers"].append(agent | {"name": "vault-agent", "args": ["-config=/vault/configs/config.json"]})
    pod["volumes"] += [
        {"name": "vault-secrets", "emptyDir": {"medium": "Memory"}}, {"name": "home", "emptyDir": {"medium": "Memory"}},
        {"name": "vault-config", "configMap": {"name": "vault-config"}},
        {"name": "account", "secret": {"secretName": f"token-of-{spec['serviceAccountName']}"}},
    ]
    once = configuration | {"exit_after_auth": True}
    return pod, {"init.json": json.dumps(once), "config.json": json.dumps(configuration)}
