//! The pure stages of a container's start, each alone: what one costs shows here first.
//!
//! Over the bundle as Docker makes it (`benches/bundles/docker.json`). Times are of one machine at one
//! moment: compare two builds with `cargo bench -p brig-benches -- --save-baseline NAME` and
//! `--baseline NAME`.

use std::hint::black_box;

use brig::caller::Caller;
use brig::plan::{self, HostFacts, Request, RootDirectory, Start, plan_cgroup};
use brig::policy::{self, Hardened};
use brig::spec::{Asked, ContainerId};
use brig_cgroup::{CgroupFacts, CgroupPlan, Layout, Unified};
use brig_seccomp::{Arch, BpfProgram};
use bumpalo::Bump;
use criterion::{Criterion, criterion_group, criterion_main};
use oci_spec::runtime::LinuxSeccomp;

/// The program's, as what is measured is part of it.
#[global_allocator]
static ALLOCATOR: brig_sys::allocator::Allocator = brig_sys::allocator::Allocator::new();

const BUNDLE: &[u8] = include_bytes!("../bundles/docker.json");

/// Root on a host with cgroup v2.
const HOST: HostFacts = HostFacts {
    caller: Caller::Root,
    setgroups: true,
    empty_namespace: true,
    apparmor: false,
    selinux: false,
    own_pid_max: false,
    detached_layers: true,
    no_new_privileges: false,
    descriptors: None,
};

fn checked() -> Hardened {
    policy::kept(Asked::read(BUNDLE).expect("the bundle is acceptable"))
}

fn profile(spec: &Hardened) -> LinuxSeccomp {
    let section = spec.seccomp.clone().expect("it has a filter");
    brig_seccomp::read_part(BUNDLE, section).expect("it is acceptable")
}

fn cgroup_plan(id: &ContainerId, spec: &Hardened) -> CgroupPlan {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"].map(str::to_owned);
    let unified = Unified {
        mount: "/sys/fs/cgroup".into(),
        own: "/".into(),
        controllers: controllers.to_vec(),
    };
    let facts = CgroupFacts { layout: Layout::Unified(unified) };
    plan_cgroup(id, spec, &facts, None, Caller::Root).expect("a plan")
}

fn request<'s>(
    id: &'s ContainerId,
    spec: &'s Hardened,
    cgroup: &'s CgroupPlan,
    filter: &'s BpfProgram,
) -> Request<'s> {
    let root = RootDirectory { path: "/bundle/rootfs", device: (8, 1), inode: 77, mount: 29 };
    Request {
        start: Start::AtOnce,
        seccomp: Some(filter),
        ..Request::new(id, spec, "/bundle", root, &HOST, cgroup)
    }
}

fn stages(criterion: &mut Criterion) {
    let spec = checked();
    let id = ContainerId::parse("web").expect("an id");
    let cgroup = cgroup_plan(&id, &spec);
    let profile = profile(&spec);
    let filter = brig_seccomp::compile(&profile, Arch::native()).expect("it compiles");
    let request = request(&id, &spec, &cgroup, &filter);

    criterion.bench_function("spec: parse and check", |bencher| {
        bencher.iter(|| policy::kept(Asked::read(black_box(BUNDLE)).expect("acceptable")));
    });
    criterion.bench_function("seccomp: compile", |bencher| {
        bencher.iter(|| brig_seccomp::compile(black_box(&profile), Arch::native()));
    });
    criterion.bench_function("cgroup: plan", |bencher| {
        bencher.iter(|| cgroup_plan(&id, black_box(&spec)));
    });
    criterion.bench_function("plan", |bencher| {
        bencher.iter(|| {
            let arena = Bump::new();
            plan::plan(&arena, black_box(&request)).expect("a plan").ops.len()
        });
    });
    let arena = Bump::new();
    let planned = plan::plan(&arena, &request).expect("a plan");
    criterion.bench_function("plan: render", |bencher| {
        bencher.iter(|| plan::render(black_box(&planned)));
    });
}

criterion_group!(benches, stages);
criterion_main!(benches);
