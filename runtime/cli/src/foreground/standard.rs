//! Standard input, output and error of a program without a terminal of its own.
//!
//! Promises: the program and the hooks inside never get a descriptor of the caller's terminal. Who has one
//! can read what is typed for as long as it lives, also after brig has ended, and write over what others
//! show. Where one of the three is a terminal, the program gets a pipe, and brig in the foreground copies;
//! where brig does not stay, it gets /dev/null. What is no terminal is the caller's to give, and nothing is
//! copied then, but for /dev/null the program gets the container's own. Reference: tty_ioctl(4), pipe(7).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use brig::caller::Caller;
use brig::printable;
use brig::spec::{Config, IdMapping, NamespaceType};
use brig::supervise::{Error, Io, NULL, character_device};
use nix::unistd::fchown;
use rustix::fs::{OFlags, fcntl_setfl, fstat};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::termios::isatty;

use super::stream::{Kind, Stream, own};

const NAMES: [&str; 3] = ["standard input", "standard output", "standard error"];
/// One chunk: what is read from a terminal beyond what the program wants is lost to the shell.
const INPUT_HOLDS_BYTES: usize = 4096;

/// Nothing in place of a terminal.
pub(super) fn nothing() -> Result<Io, Error> {
    Ok(without_terminals()?.0)
}

/// The same, and says so: nobody stays who could pass on what is read and written.
pub(super) fn detached() -> Result<Io, Error> {
    let (io, names) = without_terminals()?;
    if !names.is_empty() {
        printable::note(&format!(
            "note: the container gets /dev/null as {}, not this terminal, as brig does not stay to \
             stand between; redirect what it needs (<file, >file, 2>file)",
            names.join(", ")
        ));
    }
    Ok(io)
}

/// And which of them were terminals.
fn without_terminals() -> Result<(Io, Vec<&'static str>), Error> {
    let (mut standard, mut null, mut names) = ([const { None }; 3], [false; 3], Vec::new());
    for number in 0..3 {
        let given = given(number);
        null[number] = given != Given::Fit;
        if given == Given::Terminal {
            names.push(NAMES[number]);
            // Hooks must not have the terminal either.
            standard[number] = Some(null_of_the_host()?);
        }
    }
    Ok((Io { standard, null: Some(null), console: None }, names))
}

fn null_of_the_host() -> Result<OwnedFd, Error> {
    let null = File::options().read(true).write(true).open("/dev/null");
    null.map(OwnedFd::from).map_err(|error| Error::system("opening /dev/null", error))
}

/// A pipe in place of a terminal, which `owner` may open by name, and what brig then has to copy.
pub(super) fn piped(owner: Option<u32>) -> Result<(Io, Vec<Stream>), Error> {
    let (mut standard, mut null, mut streams) = ([const { None }; 3], [false; 3], Vec::new());
    for number in 0..3 {
        standard[number] = match given(number) {
            Given::Fit => None,
            Given::Null => {
                null[number] = true;
                None
            }
            Given::Terminal
                if number == 2 && standard[1].is_some() && is_same(caller(1), caller(2))? =>
            {
                // One pipe keeps the order of what is written to both.
                standard[1].as_ref().map(super::stream::duplicate).transpose()?
            }
            Given::Terminal => {
                let (stream, theirs) = pipe(number, owner)?;
                streams.push(stream);
                Some(theirs)
            }
        };
    }
    Ok((Io { standard, null: Some(null), console: None }, streams))
}

fn pipe(number: usize, owner: Option<u32>) -> Result<(Stream, OwnedFd), Error> {
    let failed = |errno: rustix::io::Errno| {
        Error::system(format!("making a pipe for {}", NAMES[number]), errno)
    };
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    if let Some(owner) = owner {
        fchown(&reader, Some(owner.into()), None).map_err(|errno| {
            Error::system(format!("giving {} to its user", NAMES[number]), errno)
        })?;
    }
    Ok(match number {
        0 => {
            fcntl_setpipe_size(&writer, INPUT_HOLDS_BYTES).map_err(failed)?;
            fcntl_setfl(&writer, OFlags::WRONLY | OFlags::NONBLOCK).map_err(failed)?;
            (Stream::new(Kind::IntoPipe, own(caller(0), OFlags::RDONLY)?, writer), reader)
        }
        _ => {
            fcntl_setfl(&reader, OFlags::RDONLY | OFlags::NONBLOCK).map_err(failed)?;
            (Stream::new(Kind::OutOfPipe, reader, own(caller(number), OFlags::WRONLY)?), writer)
        }
    })
}

/// What the caller gives as one of the three.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// Its own terminal.
    Terminal,
    /// /dev/null: the program gets its own.
    Null,
    /// What the program can have.
    Fit,
}

fn given(number: usize) -> Given {
    let fd = caller(number);
    match character_device(fd) {
        Some(NULL) => Given::Null,
        Some(_) if isatty(fd) => Given::Terminal,
        _ => Given::Fit,
    }
}

fn caller(number: usize) -> BorrowedFd<'static> {
    match number {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

fn is_same(one: impl AsFd, other: impl AsFd) -> Result<bool, Error> {
    let look = |fd: BorrowedFd<'_>| {
        fstat(fd).map_err(|errno| Error::system("looking at a terminal", errno))
    };
    let (one, other) = (look(one.as_fd())?, look(other.as_fd())?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Who the program's user is on the host, where brig can give it something: /dev/stdout is opened by name.
pub(super) fn owner(spec: &Config, uid: u32) -> Option<u32> {
    if !Caller::get().is_root() {
        return None;
    }
    on_host(spec, uid)
}

fn on_host(spec: &Config, uid: u32) -> Option<u32> {
    let Some(user) = spec.linux.namespace(NamespaceType::User) else { return Some(uid) };
    if user.path.is_some() {
        // Its map is its maker's.
        return None;
    }
    IdMapping::outside_of(&spec.linux.uid_mappings, uid)
}

#[cfg(test)]
mod tests {
    use super::on_host;

    #[test]
    fn a_user_of_a_container_is_found_on_the_host() {
        let spec = |namespaces: &str, maps: &str| {
            let text = format!(
                r#"{{"ociVersion": "1.0.2", "root": {{"path": "rootfs"}}, "process": {{"cwd": "/", "args": ["x"]}},
                "linux": {{"namespaces": [{namespaces}], "uidMappings": [{maps}], "gidMappings": [{maps}]}}}}"#
            );
            brig::policy::kept(brig::spec::Asked::read(text.as_bytes()).expect("a specification"))
        };
        assert_eq!(on_host(&spec(r#"{"type": "pid"}"#, ""), 1000), Some(1000));
        let maps = r#"{"containerID": 0, "hostID": 5000, "size": 1}, {"containerID": 1, "hostID": 70000, "size": 1000}"#;
        let mapped = spec(r#"{"type": "user"}"#, maps);
        assert_eq!(
            [0, 1, 1000, 1001].map(|uid| on_host(&mapped, uid)),
            [Some(5000), Some(70000), Some(70999), None]
        );
        assert_eq!(on_host(&spec(r#"{"type": "user", "path": "/proc/1/ns/user"}"#, maps), 0), None);
    }
}
