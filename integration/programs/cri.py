"""Calls methods of a container runtime interface: cri.py SOCKET <REQUESTS >ANSWERS.

A request is a line, ["METHOD", REQUEST], and so is its answer, {"answer": ANSWER} or {"error": "CODE: details"}. One
process for all, as to start it costs more than most calls.

The part of Kubernetes' runtime.v1 that the tests use, by the field numbers of its api.proto.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

# message: field=number:type, where `type*` is repeated. A map is written as what it is on the wire: pairs.
SCHEMA = """
Nothing:
Value: value=1:int64
Strings: key=1:string value=2:string
SecurityProfile: profile_type=1:int32 localhost_ref=2:string
IDMapping: host_id=1:uint32 container_id=2:uint32 length=3:uint32
UserNamespace: mode=1:int32 uids=2:IDMapping* gids=3:IDMapping*
NamespaceOption: network=1:int32 pid=2:int32 ipc=3:int32 target_id=4:string userns_options=5:UserNamespace
PodSandboxMetadata: name=1:string uid=2:string namespace=3:string attempt=4:uint32
LinuxSandboxSecurityContext: namespace_options=1:NamespaceOption run_as_user=3:Value readonly_rootfs=4:bool supplemental_groups=5:int64* privileged=6:bool seccomp=9:SecurityProfile
LinuxPodSandboxConfig: cgroup_parent=1:string security_context=2:LinuxSandboxSecurityContext sysctls=3:Strings*
PodSandboxConfig: metadata=1:PodSandboxMetadata hostname=2:string log_directory=3:string labels=6:Strings* annotations=7:Strings* linux=8:LinuxPodSandboxConfig
RunPodSandboxRequest: config=1:PodSandboxConfig runtime_handler=2:string
RunPodSandboxResponse: pod_sandbox_id=1:string
Pod: pod_sandbox_id=1:string verbose=2:bool
ImageSpec: image=1:string
ContainerMetadata: name=1:string attempt=2:uint32
Mount: container_path=1:string host_path=2:string readonly=3:bool selinux_relabel=4:bool propagation=5:int32 uidMappings=6:IDMapping* gidMappings=7:IDMapping* recursive_read_only=8:bool image=9:ImageSpec
LinuxContainerResources: cpu_period=1:int64 cpu_quota=2:int64 cpu_shares=3:int64 memory_limit_in_bytes=4:int64 oom_score_adj=5:int64 cpuset_cpus=6:string unified=9:Strings*
Capability: add_capabilities=1:string* drop_capabilities=2:string*
LinuxContainerSecurityContext: capabilities=1:Capability privileged=2:bool namespace_options=3:NamespaceOption run_as_user=5:Value readonly_rootfs=7:bool supplemental_groups=8:int64* no_new_privs=11:bool run_as_group=12:Value masked_paths=13:string* readonly_paths=14:string* seccomp=15:SecurityProfile
LinuxContainerConfig: resources=1:LinuxContainerResources security_context=2:LinuxContainerSecurityContext
ContainerConfig: metadata=1:ContainerMetadata image=2:ImageSpec command=3:string* args=4:string* working_dir=5:string envs=6:Strings* mounts=7:Mount* labels=9:Strings* annotations=10:Strings* log_path=11:string stdin=12:bool tty=14:bool linux=15:LinuxContainerConfig
CreateContainerRequest: pod_sandbox_id=1:string config=2:ContainerConfig sandbox_config=3:PodSandboxConfig
CreateContainerResponse: container_id=1:string
Container: container_id=1:string timeout=2:int64
ContainerResources: linux=1:LinuxContainerResources
ContainerStatus: id=1:string state=3:int32 exit_code=7:int32 reason=10:string message=11:string resources=16:ContainerResources
ContainerStatusResponse: status=1:ContainerStatus
ExecSyncRequest: container_id=1:string cmd=2:string* timeout=3:int64
ExecSyncResponse: stdout=1:string stderr=2:string exit_code=3:int32
UpdateContainerResourcesRequest: container_id=1:string linux=2:LinuxContainerResources
UInt64: value=1:uint64
CpuUsage: timestamp=1:int64 usage_core_nano_seconds=2:UInt64
MemoryUsage: timestamp=1:int64 working_set_bytes=2:UInt64
ContainerStats: cpu=2:CpuUsage memory=3:MemoryUsage
ContainerStatsResponse: stats=1:ContainerStats
PodSandboxNetworkStatus: ip=1:string
PodSandboxStatus: id=1:string state=3:int32 network=5:PodSandboxNetworkStatus
PodSandboxStatusResponse: status=1:PodSandboxStatus
RuntimeCondition: type=1:string status=2:bool reason=3:string message=4:string
RuntimeStatus: conditions=1:RuntimeCondition*
RuntimeHandlerFeatures: recursive_read_only_mounts=1:bool user_namespaces=2:bool
RuntimeHandler: name=1:string features=2:RuntimeHandlerFeatures
StatusResponse: status=1:RuntimeStatus runtime_handlers=3:RuntimeHandler*
ProcessUsage: timestamp=1:int64 process_count=2:UInt64
LinuxPodSandboxStats: cpu=1:CpuUsage memory=2:MemoryUsage process=4:ProcessUsage containers=5:ContainerStats*
PodSandboxStats: linux=2:LinuxPodSandboxStats
PodSandboxStatsResponse: stats=1:PodSandboxStats
"""

METHODS = {
    "Status": ("Nothing", "StatusResponse"),
    "RunPodSandbox": ("RunPodSandboxRequest", "RunPodSandboxResponse"),
    "PodSandboxStatus": ("Pod", "PodSandboxStatusResponse"),
    "StopPodSandbox": ("Pod", "Nothing"),
    "RemovePodSandbox": ("Pod", "Nothing"),
    "CreateContainer": ("CreateContainerRequest", "CreateContainerResponse"),
    "StartContainer": ("Container", "Nothing"),
    "StopContainer": ("Container", "Nothing"),
    "RemoveContainer": ("Container", "Nothing"),
    "ContainerStatus": ("Container", "ContainerStatusResponse"),
    "ContainerStats": ("Container", "ContainerStatsResponse"),
    "PodSandboxStats": ("Pod", "PodSandboxStatsResponse"),
    "ReopenContainerLog": ("Container", "Nothing"),
    "ExecSync": ("ExecSyncRequest", "ExecSyncResponse"),
    "UpdateContainerResources": ("UpdateContainerResourcesRequest", "Nothing"),
}


def messages():
    """The message classes of SCHEMA, by name."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="cri", package="cri", syntax="proto3")

    def add(message, name, number, kind, repeated=False):
        one = message.field.add(name=name, number=number, json_name=name)
        one.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
        if kind[0].isupper():
            one.type, one.type_name = field.TYPE_MESSAGE, ".cri." + kind
        else:
            one.type = getattr(field, "TYPE_" + kind.upper())

    lines = [line.partition(":") for line in SCHEMA.strip().splitlines()]
    for name, _, fields in lines:
        message = file.message_type.add(name=name)
        for text in fields.split():
            key, _, rest = text.partition("=")
            number, _, kind = rest.partition(":")
            add(message, key, int(number), kind.rstrip("*"), kind[-1] == "*")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = message_factory.MessageFactory(pool).GetPrototype
    return {name: make(pool.FindMessageTypeByName("cri." + name)) for name, _, _ in lines}


def ask(channel, known, method, request):
    """One call; the answer, or the error as words."""
    kind, answer = (known[name] for name in METHODS[method])
    call = channel.unary_unary(
        "/runtime.v1.RuntimeService/" + method,
        request_serializer=kind.SerializeToString,
        response_deserializer=answer.FromString,
    )
    try:
        said = call(json_format.ParseDict(request, kind()), timeout=60, wait_for_ready=True)
    except grpc.RpcError as error:
        return {"error": f"{error.code().name}: {error.details()}"}
    fields = dict(including_default_value_fields=True, preserving_proto_field_name=True)
    return {"answer": json_format.MessageToDict(said, **fields)}


def main():
    known = messages()
    with grpc.insecure_channel("unix://" + sys.argv[1]) as channel:
        for line in sys.stdin:
            method, request = json.loads(line)
            print(json.dumps(ask(channel, known, method, request)), flush=True)


main()
