//! One direction of what brig copies between the caller's terminal and the container.
//!
//! Promises: it holds one chunk at most, waits for nobody (poll(2) says when there is something to do), and
//! reads no byte that it cannot pass on. What a program has written before its end arrives; what others
//! write after that is not waited for. brig never reads from a terminal in whose background it is, and takes
//! no more of what is typed than the program has asked for, but for one chunk.
//! Reference: pipe(7), tcgetpgrp(3), termios(3) "Canonical and noncanonical mode".

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use brig::supervise::Error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What a line of a terminal holds at most, and what a pipe takes at once (`N_TTY_BUF_SIZE`, `PIPE_BUF`).
const CHUNK_BYTES: usize = 4096;
/// More than the kernel keeps of what was written to a terminal (64 KiB and a line).
const TERMINAL_HOLDS_BYTES: usize = 128 << 10;

/// What a stream does at the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Into a pipe that holds one chunk: nothing is read before the last one has been.
    IntoPipe,
    /// Out of a pipe: where nobody can be told any more, the program hears of it.
    OutOfPipe,
    /// Into a terminal's master.
    IntoMaster,
    /// Out of one: where nobody can be told any more, it is read all the same.
    OutOfMaster,
}

/// A direction.
#[derive(Debug)]
pub(super) struct Stream {
    kind: Kind,
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    chunk: Box<[u8; CHUNK_BYTES]>,
    /// What of the chunk has not been written yet.
    first: usize,
    end: usize,
    /// The pipe has been empty since the last write.
    has_room: bool,
    /// Nothing can be read for now, which poll(2) does not tell.
    rests: bool,
    /// How much more is read: once the process has ended, no more than was there.
    budget: usize,
}

/// Which entries of a poll(2) are a stream's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    from: Option<usize>,
    to: Option<usize>,
}

impl Stream {
    pub(super) fn new(kind: Kind, from: OwnedFd, to: OwnedFd) -> Self {
        Self {
            kind,
            from: Some(from),
            to: Some(to),
            chunk: Box::new([0; CHUNK_BYTES]),
            first: 0,
            end: 0,
            has_room: false,
            rests: false,
            budget: usize::MAX,
        }
    }

    fn is_input(&self) -> bool {
        matches!(self.kind, Kind::IntoPipe | Kind::IntoMaster)
    }

    fn pending(&self) -> bool {
        self.first < self.end
    }

    /// Adds to `set` what the stream waits for; true where it has to be asked again without an event.
    pub(super) fn watch<'s>(&'s self, set: &mut Vec<PollFd<'s>>) -> (Places, bool) {
        let rests = self.rests || (self.is_input() && in_background(self.from.as_ref()));
        let mut places = Places::default();
        let wants_room = self.pending() || (self.kind == Kind::IntoPipe && !self.has_room);
        if let Some(to) = &self.to
            && (wants_room || self.kind == Kind::IntoPipe)
        {
            places.to = Some(set.len());
            let events = if wants_room { PollFlags::OUT } else { PollFlags::empty() };
            set.push(PollFd::new(to, events));
        }
        if let Some(from) = self.from.as_ref().filter(|_| !wants_room && !rests) {
            places.from = Some(set.len());
            set.push(PollFd::new(from, PollFlags::IN));
        }
        (places, rests && self.from.is_some())
    }

    /// Does what can be done at once, as poll(2) has answered.
    pub(super) fn advance(&mut self, places: Places, ready: &[PollFlags]) {
        self.rests = false;
        let at = |place: Option<usize>| place.and_then(|place| ready.get(place).copied());
        let (from, to) = (at(places.from).unwrap_or(PollFlags::empty()), at(places.to));
        let to = to.unwrap_or(PollFlags::empty());
        if self.kind == Kind::IntoPipe && to.intersects(PollFlags::ERR) {
            // Nobody reads it any more: what is typed from now on is the shell's.
            return self.close();
        }
        if self.pending() {
            if !to.is_empty() {
                self.write();
            }
        } else {
            self.has_room |= to.contains(PollFlags::OUT);
            if !from.is_empty() {
                self.read();
            }
        }
    }

    fn read(&mut self) {
        let Some(from) = &self.from else { return };
        let room = self.budget.min(CHUNK_BYTES);
        match rustix::io::read(from, &mut self.chunk[..room]) {
            Ok(0) => self.close_from(),
            Ok(count) => {
                (self.first, self.end) = (0, count);
                self.budget -= count;
                if self.has_room || self.to.is_none() {
                    self.write();
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // A terminal's answer while nobody has it open inside, or to a process in its background.
            Err(Errno::IO) if self.kind == Kind::OutOfMaster => self.rests = true,
            Err(Errno::IO) if in_background(Some(from)) => self.rests = true,
            Err(_) => self.close_from(),
        }
    }

    fn write(&mut self) {
        self.has_room = false;
        let Some(to) = &self.to else {
            self.first = self.end;
            return;
        };
        match rustix::io::write(to, &self.chunk[self.first..self.end]) {
            Ok(count) => self.first += count,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) if self.kind == Kind::OutOfMaster => {
                self.to = None;
                self.first = self.end;
            }
            Err(_) => self.close(),
        }
    }

    /// The end of what comes: nothing is pending, as it is read only then.
    fn close_from(&mut self) {
        self.from = None;
        self.to = None;
    }

    fn close(&mut self) {
        self.close_from();
        self.first = self.end;
    }

    /// The process has ended: nobody reads what it has not, and what it has written is there.
    pub(super) fn process_has_ended(&mut self) {
        if self.is_input() {
            return self.close();
        }
        let holds = self.from.as_ref().map(rustix::pipe::fcntl_getpipe_size);
        self.budget = holds.and_then(Result::ok).unwrap_or(TERMINAL_HOLDS_BYTES);
    }

    /// Whether all that was there has been passed on.
    pub(super) fn is_drained(&self) -> bool {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        !self.pending()
            && self.from.as_ref().filter(|_| self.budget > 0).is_none_or(|from| {
                let mut set = [PollFd::new(from, PollFlags::IN)];
                let ready = poll(&mut set, Some(&none)).is_ok_and(|count| count > 0);
                !ready || !set[0].revents().contains(PollFlags::IN)
            })
    }
}

fn in_background(terminal: Option<&OwnedFd>) -> bool {
    let group = terminal.and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok());
    group.is_some_and(|group| group != rustix::process::getpgrp())
}

/// A descriptor of its own for one of the caller's. For a terminal without waiting, so that brig stays
/// awake when another process has been faster, or the user has stopped the output; where the terminal may not
/// be opened again (after su(1)) it is shared with the caller, whose flags brig must not change.
pub(super) fn own(shared: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Error> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", shared.as_raw_fd());
    if rustix::termios::isatty(shared)
        && let Ok(own) = rustix::fs::open(path, flags, Mode::empty())
    {
        return Ok(own);
    }
    duplicate(shared)
}

/// Another descriptor of the same file, beyond the standard ones.
pub(super) fn duplicate(fd: impl AsFd) -> Result<OwnedFd, Error> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
        .map_err(|errno| Error::system("duplicating a descriptor", errno))
}
