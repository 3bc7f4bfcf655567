"""The Python client of Kubernetes against a real server: client.py NAMESPACE IMAGE, with KUBECONFIG set."""

import base64
import sys
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

namespace, image = sys.argv[1:3]
config.load_kube_config()
core = client.CoreV1Api()
apps = client.AppsV1Api()


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def refused(code, reason, call):
    try:
        call()
    except ApiException as e:
        expect(e.status == code and reason in e.body, f"{e.status} {e.body}, not {code} {reason}")
        return
    raise AssertionError(f"not refused with {code} {reason}")


def versions():
    expect(client.VersionApi().get_code().minor.startswith("36"), "version 1.36")
    groups = {g.name for g in client.ApisApi().get_api_versions().groups}
    expect({"apps", "batch", "rbac.authorization.k8s.io"} <= groups, groups)


def objects():
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="m", labels={"a": "b"}), data={"k": "1"})
    made = core.create_namespaced_config_map(namespace, body)
    expect(made.metadata.uid and made.data == {"k": "1"}, made)
    refused(409, "AlreadyExists", lambda: core.create_namespaced_config_map(namespace, body))
    core.patch_namespaced_config_map("m", namespace, {"data": {"l": "2"}})
    read = core.read_namespaced_config_map("m", namespace)
    expect(read.data == {"k": "1", "l": "2"}, read.data)
    read.data["k"] = "3"
    core.replace_namespaced_config_map("m", namespace, read)
    refused(409, "Conflict", lambda: core.replace_namespaced_config_map("m", namespace, read))
    listed = core.list_namespaced_config_map(namespace, label_selector="a=b", field_selector="metadata.name=m")
    expect([m.data["k"] for m in listed.items] == ["3"], listed)
    refused(422, "Invalid", lambda: core.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="NO"))))
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"p": "é"})
    core.create_namespaced_secret(namespace, secret)
    data = core.read_namespaced_secret("s", namespace).data["p"]
    expect(base64.b64decode(data).decode() == "é", data)
    core.delete_namespaced_config_map("m", namespace)
    refused(404, "NotFound", lambda: core.read_namespaced_config_map("m", namespace))


def pages():
    for i in range(7):
        core.create_namespaced_config_map(
            namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"page-{i}", labels={"page": "1"})))
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(namespace, limit=3, label_selector="page=1", _continue=token)
        names += [m.metadata.name for m in page.items]
        token = page.metadata._continue
        if not token:
            break
    expect(names == [f"page-{i}" for i in range(7)], names)
    core.delete_collection_namespaced_config_map(namespace, label_selector="page=1")
    expect(not core.list_namespaced_config_map(namespace, label_selector="page=1").items, "all are deleted")


def watches():
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    seen = []

    def follow():
        for event in watch.Watch().stream(
                core.list_namespaced_config_map, namespace, resource_version=start, label_selector="w=1",
                timeout_seconds=60):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                return

    reader = threading.Thread(target=follow)
    reader.start()
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="w", labels={"w": "1"}))
    core.create_namespaced_config_map(namespace, body)
    core.patch_namespaced_config_map("w", namespace, {"data": {"x": "y"}})
    core.delete_namespaced_config_map("w", namespace)
    reader.join(60)
    expect(seen == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")], seen)


def applies():
    maps = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")

    def apply(manager, data, **more):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": data}
        return maps.server_side_apply(namespace=namespace, name="applied", body=body, field_manager=manager, **more)

    apply("one", {"a": "1", "b": "1"})
    try:
        apply("two", {"a": "2"})
        raise AssertionError("a conflict")
    except ApiException as e:
        expect(e.status == 409 and '.data.a' in str(e.body), e.body)
    apply("two", {"a": "2"}, force_conflicts=True)
    now = apply("one", {"c": "1"})
    expect(dict(now.data) == {"a": "2", "c": "1"}, now.data)
    managers = sorted(m.manager for m in now.metadata.managedFields)
    expect(managers == ["one", "two"], managers)


def pods():
    pod = client.V1Pod(
        metadata=client.V1ObjectMeta(name="p", labels={"app": "p"}),
        spec=client.V1PodSpec(containers=[client.V1Container(
            name="c", image=image, image_pull_policy="Never")], termination_grace_period_seconds=1))
    core.create_namespaced_pod(namespace, pod)
    for event in watch.Watch().stream(
            core.list_namespaced_pod, namespace, field_selector="metadata.name=p", timeout_seconds=120):
        if event["object"].status.phase == "Running":
            break
    else:
        raise AssertionError("the pod does not run")
    command = ["/bin/sh", "-c", "echo out; echo err >&2; cat; exit 3"]
    session = stream(
        core.connect_get_namespaced_pod_exec, "p", namespace, command=command, stdin=True, stdout=True,
        stderr=True, tty=False, _preload_content=False)
    session.write_stdin("in\n")
    out = ""
    while session.is_open() and "in\n" not in out:
        session.update(timeout=60)
        out += session.read_stdout(timeout=1) if session.peek_stdout() else ""
    expect(out == "out\nin\n", out)
    session.close()
    once = stream(
        core.connect_get_namespaced_pod_exec, "p", namespace, command=["/bin/sh", "-c", "echo once; exit 3"],
        stdin=False, stdout=True, stderr=True, tty=False, _preload_content=False)
    once.run_forever(timeout=60)
    expect(once.read_stdout() == "once\n" and once.returncode == 3, f"{once.returncode}")
    expect(core.read_namespaced_pod_log("p", namespace) is not None, "logs")
    deployment = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="d"),
        spec=client.V1DeploymentSpec(
            replicas=0, selector=client.V1LabelSelector(match_labels={"a": "b"}),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels={"a": "b"}),
                spec=client.V1PodSpec(containers=[client.V1Container(name="c", image=image)]))))
    apps.create_namespaced_deployment(namespace, deployment)
    scaled = apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 1}})
    expect(scaled.spec.replicas == 1, scaled)
    core.delete_namespaced_pod("p", namespace)


for step in (versions, objects, pages, watches, applies, pods):
    step()
    print(f"{step.__name__}: ok", flush=True)
