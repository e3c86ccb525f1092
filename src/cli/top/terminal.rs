//! The terminal that is drawn on: raw and on its other screen until the end, whatever the end is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::layout::Size;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

use super::ansi;

/// What a terminal has that tells no size.
const USUAL: Size = Size::new(80, 24);
/// How long a terminal that takes no bytes is waited for at the end.
const AT_THE_END: Duration = Duration::from_secs(1);

/// A terminal in raw mode. It is as before once the last of its clones is dropped.
#[derive(Debug, Clone)]
pub(super) struct Tty(Arc<Raw>);

#[derive(Debug)]
struct Raw {
    input: OwnedFd,
    output: OwnedFd,
    /// How the terminal was.
    before: Termios,
    is_entered: AtomicBool,
}

impl Tty {
    /// Takes the terminal over that these are.
    ///
    /// # Errors
    /// If they are no terminal, or one that is gone.
    pub(super) fn enter(input: impl AsFd, output: impl AsFd) -> io::Result<Self> {
        let (input, output) = (input.as_fd().try_clone_to_owned()?, output.as_fd().try_clone_to_owned()?);
        let before = tcgetattr(&input)?;
        let raw = Arc::new(Raw { input, output, before, is_entered: AtomicBool::new(true) });
        let tty = Self(raw);
        tty.begin()?;
        Ok(tty)
    }

    /// Gives the terminal back before the message of a panic is printed, which belongs on the screen that stays.
    pub(super) fn give_back_on_panic(&self) {
        let (shared, previous) = (Arc::downgrade(&self.0), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            if let Some(raw) = shared.upgrade() {
                raw.restore();
            }
            previous(panic);
        }));
    }

    /// Sets the mode and goes to the other screen, also when a shell changed both while the program was stopped.
    pub(super) fn begin(&self) -> io::Result<()> {
        let mut mode = self.0.before.clone();
        mode.make_raw();
        // A read takes what there is and never waits: what is waited for, and until when, is decided elsewhere.
        mode.special_codes[SpecialCodeIndex::VMIN] = 0;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&self.0.input, OptionalActions::Now, &mode)?;
        self.write(ansi::ENTER)
    }

    /// Its size now.
    pub(super) fn size(&self) -> Size {
        tcgetwinsize(&self.0.output).ok().map(|size| Size::new(size.ws_col, size.ws_row)).filter(|size| size.area() > 0).unwrap_or(USUAL)
    }

    /// Whether nobody is at the other end any more.
    pub(super) fn is_gone(&self) -> bool {
        [&self.0.input, &self.0.output].into_iter().any(|end| state(end.as_fd(), PollFlags::empty(), Duration::ZERO).is_none())
    }

    /// Whether the shell lets this program have the terminal: a program in the background that touches it is stopped.
    pub(super) fn is_ours(&self) -> bool {
        self.0.is_ours()
    }

    /// What was typed, at most as much as fits; nothing if nothing was within that time.
    ///
    /// # Errors
    /// If the terminal is gone, or not this program's.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8], within: Duration) -> io::Result<&'a [u8]> {
        match state(self.0.input.as_fd(), PollFlags::IN, within) {
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(ready) if !ready.contains(PollFlags::IN) => return Ok(&[]),
            Some(_) => {}
        }
        match rustix::io::read(&self.0.input, &mut *buffer) {
            // Something was there, and nothing can be read: that is the end of a file.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => Ok(buffer.get(..length).unwrap_or_default()),
            Err(error) if error == rustix::io::Errno::INTR || error == rustix::io::Errno::AGAIN => Ok(&[]),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the terminal back. Another time it does nothing.
    pub(super) fn leave(&self) {
        self.0.restore();
    }

    /// Writes all of it. Waits as long as the terminal takes nothing.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }
}

impl Raw {
    fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.output, bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error == rustix::io::Errno::INTR => {}
                // Somebody else made it non-blocking: wait here.
                Err(error) if error == rustix::io::Errno::AGAIN => {
                    state(self.output.as_fd(), PollFlags::OUT, AT_THE_END).ok_or(io::ErrorKind::BrokenPipe)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn is_ours(&self) -> bool {
        // Without job control there is no owner.
        tcgetpgrp(&self.input).map_or(true, |group| group == rustix::process::getpgrp())
    }

    /// Makes the terminal as it was, once. Nobody is left to be told if it cannot be done.
    fn restore(&self) {
        if !self.is_entered.swap(false, Ordering::SeqCst) || !self.is_ours() {
            return;
        }
        if state(self.output.as_fd(), PollFlags::OUT, AT_THE_END).is_some_and(|ready| ready.contains(PollFlags::OUT)) {
            let _ = self.write(ansi::LEAVE);
        }
        let _ = tcsetattr(&self.input, OptionalActions::Now, &self.before);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.restore();
    }
}

/// What of `wanted` is possible within that time; `None` if the other end is gone.
fn state(end: BorrowedFd<'_>, wanted: PollFlags, within: Duration) -> Option<PollFlags> {
    let within = Timespec { tv_sec: within.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: within.subsec_nanos().into() };
    let mut watched = [PollFd::from_borrowed_fd(end, wanted)];
    match poll(&mut watched, Some(&within)) {
        Ok(_) => {}
        Err(error) if error == rustix::io::Errno::INTR => return Some(PollFlags::empty()),
        Err(_) => return None,
    }
    let found = watched.first().map_or(PollFlags::empty(), PollFd::revents);
    (!found.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)).then_some(found)
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::{LocalModes, Winsize, tcsetwinsize};

    use super::*;

    /// Both ends of a terminal.
    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        (master, slave)
    }

    fn shown(master: &OwnedFd) -> String {
        let mut shown = Vec::new();
        let mut buffer = [0; 1024];
        while state(master.as_fd(), PollFlags::IN, Duration::ZERO).is_some_and(|ready| ready.contains(PollFlags::IN)) {
            let length = rustix::io::read(master, &mut buffer).unwrap();
            shown.extend(&buffer[..length]);
        }
        String::from_utf8(shown).unwrap()
    }

    fn is_raw(end: &OwnedFd) -> bool {
        !tcgetattr(end).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[test]
    fn the_terminal_is_as_before_at_the_end() {
        let (master, slave) = pair();
        tcsetwinsize(&slave, Winsize { ws_col: 60, ws_row: 20, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let tty = Tty::enter(&slave, &slave).unwrap();
        let clone = tty.clone();
        assert!(is_raw(&slave) && tty.size() == Size::new(60, 20));
        assert!(shown(&master).contains("\x1b[?1049h"));
        drop(tty);
        assert!(is_raw(&slave));
        drop(clone);
        assert!(!is_raw(&slave));
        assert!(shown(&master).ends_with("\x1b[?25h\x1b[?1049l"));
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let (master, slave) = pair();
        let tty = Tty::enter(&slave, &slave).unwrap();
        tty.give_back_on_panic();
        let panicked = std::panic::catch_unwind(|| panic!("on purpose"));
        // By the hook: the value still lives.
        assert!(panicked.is_err() && !is_raw(&slave) && shown(&master).ends_with("\x1b[?1049l"));
        drop(tty);
        assert!(shown(&master).is_empty(), "once is enough");
    }

    #[test]
    fn what_is_typed_is_read_without_waiting() {
        let (master, slave) = pair();
        let tty = Tty::enter(&slave, &slave).unwrap();
        let mut buffer = [0; 8];
        assert!(tty.read(&mut buffer, Duration::ZERO).unwrap().is_empty());
        rustix::io::write(&master, b"q\x03").unwrap();
        assert_eq!(tty.read(&mut buffer, Duration::ZERO).unwrap(), b"q\x03");
        assert!(tty.read(&mut buffer, Duration::ZERO).unwrap().is_empty() && !tty.is_gone() && tty.is_ours());
    }

    #[test]
    fn a_terminal_that_is_gone_is_an_error_and_never_a_wait() {
        let (master, slave) = pair();
        let tty = Tty::enter(&slave, &slave).unwrap();
        drop(master);
        assert!(tty.is_gone());
        assert!(tty.read(&mut [0; 8], Duration::from_secs(3_600)).is_err() && tty.write(b"x").is_err());
        assert_eq!(tty.size(), USUAL);
    }

    #[test]
    fn what_takes_no_bytes_does_not_keep_the_program_from_ending() {
        let (_master, slave) = pair();
        let tty = Tty::enter(&slave, &slave).unwrap();
        // Nobody reads: the terminal is full when no more can be written at once.
        rustix::io::ioctl_fionbio(&slave, true).unwrap();
        while rustix::io::write(&slave, &[b'x'; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&slave, false).unwrap();
        drop(tty);
        assert!(!is_raw(&slave));
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(Tty::enter(&file, &file).is_err());
    }
}
