//! bpf(2) for device control on cgroup v2.
//!
//! Promises: every descriptor is close-on-exec (the kernel makes them so); a refused
//! program comes back with the verifier's words.
//! Reference: bpf(2), include/uapi/linux/bpf.h. Needs CAP_BPF and CAP_NET_ADMIN, or
//! CAP_SYS_ADMIN, in the initial user namespace.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `enum bpf_cmd` in linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
/// `enum bpf_prog_type`, `enum bpf_attach_type`.
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Flags of BPF_PROG_ATTACH.
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;
/// Flag of BPF_PROG_QUERY.
const BPF_F_QUERY_EFFECTIVE: u32 = 1 << 0;
/// How brig's programs are named, for `bpftool` and for brig itself.
const NAME: [u8; 16] = *b"brig_devices\0\0\0\0";
/// The verifier's log is asked for only after a refusal, as writing it costs time.
const LOG_BYTES: usize = 64 * 1024;

/// A program that the kernel did not take.
#[derive(Debug)]
pub struct LoadError {
    /// The kernel's answer.
    pub source: io::Error,
    /// What the verifier said; empty when the program did not get so far.
    pub log: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf(BPF_PROG_LOAD) failed: {}", self.log.trim_end())
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// `union bpf_attr` for BPF_PROG_LOAD, up to `prog_name`.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// `union bpf_attr` for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// `union bpf_attr` for BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// `union bpf_attr` for BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
#[derive(Default)]
struct IdAttributes {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `union bpf_attr` for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
#[derive(Default)]
struct InfoAttributes {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to the name.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind_and_id: [u32; 2],
    tag: [u8; 8],
    lengths: [u32; 2],
    instructions: [u64; 2],
    load_time: u64,
    created_by_uid: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
}

/// Calls bpf(2); `attributes` must be one of the structures above.
fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    let size = size_of::<T>();
    // SAFETY: `attributes` is an exclusive reference to a repr(C) prefix of union
    // bpf_attr of `size` bytes, and the kernel treats the rest as zero. Every address
    // in it points to a buffer that the caller of this private function keeps alive
    // during the call, with the length that the structure states.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn own(descriptor: libc::c_long) -> io::Result<OwnedFd> {
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor to us alone; both callers
    // pass the result of a bpf(2) command that makes one.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn raw(descriptor: BorrowedFd<'_>) -> u32 {
    // A valid descriptor is never negative.
    descriptor.as_raw_fd().unsigned_abs()
}

/// Loads a `BPF_PROG_TYPE_CGROUP_DEVICE` program (Linux 4.15), one instruction in
/// each element.
///
/// # Errors
/// The kernel's answer with the verifier's log: EPERM without the capabilities,
/// EINVAL for a program that the verifier refuses or a kernel without cgroup BPF.
pub fn load_device_program(program: &[u64]) -> Result<OwnedFd, LoadError> {
    let fail = |source| LoadError { source, log: String::new() };
    let mut attributes = LoadAttributes {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|e| fail(io::Error::other(e)))?,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name: NAME,
        ..LoadAttributes::default()
    };
    match bpf(BPF_PROG_LOAD, &mut attributes) {
        Ok(descriptor) => own(descriptor).map_err(fail),
        Err(source) => Err(LoadError { log: verifier_log(&mut attributes), source }),
    }
}

/// Loads once more for the log; a program that now loads is closed again.
fn verifier_log(attributes: &mut LoadAttributes) -> String {
    let mut log = vec![0_u8; LOG_BYTES];
    attributes.log_level = 1;
    attributes.log_size = LOG_BYTES as u32;
    attributes.log_buf = log.as_mut_ptr() as u64;
    drop(bpf(BPF_PROG_LOAD, attributes).and_then(own));
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).into_owned()
}

/// Attaches a device program to the cgroup v2 directory `cgroup` (which may not be
/// an O_PATH descriptor), beside those that are there (BPF_F_ALLOW_MULTI) or in
/// place of `replace` (Linux 5.6). All programs from the root down must allow.
///
/// # Errors
/// The kernel's answer: EPERM when an ancestor's program was attached without
/// BPF_F_ALLOW_MULTI or BPF_F_ALLOW_OVERRIDE.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replace.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, raw),
    };
    bpf(BPF_PROG_ATTACH, &mut attributes).map(drop)
}

/// Detaches `program` from `cgroup`.
///
/// # Errors
/// The kernel's answer: ENOENT when it is not attached there.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        ..AttachAttributes::default()
    };
    bpf(BPF_PROG_DETACH, &mut attributes).map(drop)
}

/// How many device programs decide for `cgroup`, its own and those of the cgroups above, whoever has attached them.
///
/// # Errors
/// The kernel's answer: EPERM without CAP_NET_ADMIN, or CAP_SYS_ADMIN.
pub fn device_programs_in_force(cgroup: BorrowedFd<'_>) -> io::Result<u32> {
    let mut attributes = QueryAttributes {
        target_fd: raw(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: BPF_F_QUERY_EFFECTIVE,
        ..QueryAttributes::default()
    };
    bpf(BPF_PROG_QUERY, &mut attributes)?;
    Ok(attributes.prog_cnt)
}

/// brig's device programs attached to `cgroup` itself, in the order of attachment.
///
/// # Errors
/// The kernel's answer: ENOSPC with more than 64 programs, EPERM without the
/// capabilities (opening programs by id needs CAP_SYS_ADMIN).
pub fn own_device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; 64];
    let mut attributes = QueryAttributes {
        target_fd: raw(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: 64,
        ..QueryAttributes::default()
    };
    bpf(BPF_PROG_QUERY, &mut attributes)?;
    let count = (attributes.prog_cnt as usize).min(ids.len());
    let mut own_programs = Vec::new();
    for id in &ids[..count] {
        let mut attributes = IdAttributes { prog_id: *id, ..IdAttributes::default() };
        let program = bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes).and_then(own)?;
        let mut info = ProgramInfo::default();
        let mut attributes = InfoAttributes {
            bpf_fd: raw(program.as_fd()),
            info_len: size_of::<ProgramInfo>() as u32,
            info: std::ptr::from_mut(&mut info) as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
        if info.name == NAME {
            own_programs.push(program);
        }
    }
    Ok(own_programs)
}
