//! Fields of config.json in the terms of a pod, for whoever has written the pod and has never seen a config.json.

use std::collections::BTreeMap;

use crate::verdict::Verdict;

/// Annotations that Kubernetes' engines put on each container: containerd's CRI plugin, and CRI-O.
const OF_PODS: [&str; 2] =
    ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"];

/// Fields by how they begin, and what of a pod they come from; of two that fit the first counts.
const FIELDS: &[(&str, &str)] = &[
    ("process.user.uid", "securityContext.runAsUser, securityContext.runAsNonRoot"),
    ("process.user.gid", "securityContext.runAsGroup"),
    (
        "process.user.additionalGids",
        "spec.securityContext.supplementalGroups, spec.securityContext.fsGroup",
    ),
    ("process.capabilities", "securityContext.capabilities"),
    ("process.noNewPrivileges", "securityContext.allowPrivilegeEscalation"),
    ("process.oomScoreAdj", "resources.requests, resources.limits (the QoS class)"),
    ("root.readonly", "securityContext.readOnlyRootFilesystem"),
    ("linux.namespaces", "spec.hostNetwork, spec.hostPID, spec.hostIPC, spec.hostUsers"),
    ("linux.uidMappings", "spec.hostUsers"),
    ("linux.gidMappings", "spec.hostUsers"),
    ("linux.maskedPaths", "securityContext.procMount, securityContext.privileged"),
    ("linux.readonlyPaths", "securityContext.procMount, securityContext.privileged"),
    ("linux.seccomp", "securityContext.seccompProfile"),
    ("linux.sysctl", "spec.securityContext.sysctls"),
    (
        "linux.devices",
        "securityContext.privileged, volumeDevices, resources.limits of a device plugin",
    ),
    (
        "linux.resources.devices",
        "securityContext.privileged, volumeDevices, resources.limits of a device plugin",
    ),
    ("linux.resources.memory", "resources.limits.memory"),
    ("linux.resources.unified[\"memory.", "resources.limits.memory"),
    ("linux.resources.cpu", "resources.limits.cpu"),
    ("linux.resources.unified[\"cpu.", "resources.limits.cpu"),
    ("linux.resources.pids", "podPidsLimit of the kubelet"),
    ("annotations[", "metadata.annotations"),
];

/// Fields of a mount by how they end.
const OF_MOUNTS: &[(&str, &str)] = &[
    ("].source", "spec.volumes[].hostPath"),
    ("].type", "spec.volumes"),
    ("].destination", "volumeMounts[].mountPath"),
    (
        "].options",
        "volumeMounts[].readOnly, volumeMounts[].mountPropagation, securityContext.privileged",
    ),
];

/// What of a pod a field comes from.
fn of(field: &str) -> Option<&'static str> {
    if field.starts_with("mounts[") {
        return OF_MOUNTS.iter().find(|(end, _)| field.ends_with(end)).map(|(_, pod)| *pod);
    }
    FIELDS.iter().find(|(start, _)| field.starts_with(start)).map(|(_, pod)| *pod)
}

/// Says of each verdict about a pod's container what of the pod it is about.
pub(crate) fn tell(verdicts: &mut [Verdict], annotations: &BTreeMap<String, String>) {
    if OF_PODS.iter().any(|name| annotations.contains_key(*name)) {
        for verdict in verdicts {
            verdict.pod = of(&verdict.field).map(str::to_owned);
        }
    }
}
