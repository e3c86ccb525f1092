//! A terminal of its own for a program: its screen is read, and its keys are typed.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::site::{CREDGATE, PATIENCE, Site};

/// A program on a pseudo-terminal, which is its controlling one. It ends with the value, whatever becomes of the test.
pub struct Terminal {
    child: Child,
    keyboard_and_screen: File,
    shown: Vec<u8>,
    started: Instant,
}

impl Terminal {
    /// The program under test with the configuration of a site, on a terminal of that many columns.
    pub fn open(site: &Site, columns: u16, arguments: &[&str]) -> Self {
        let mut command = Command::new(CREDGATE);
        command.args(arguments).arg("--config").arg(site.config());
        Self::run(columns, &command)
    }

    /// Any command, with its arguments and environment, likewise.
    pub fn run(columns: u16, command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        let stream = || Stdio::from(slave.try_clone().unwrap());
        // setsid becomes the program: the same process, in a session of its own.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let child = session.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        Self { child, keyboard_and_screen: File::from(master), shown: Vec::new(), started: Instant::now() }
    }

    /// What was shown so far, without the carriage returns.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown).replace('\r', "")
    }

    /// Waits until the screen has shown something.
    pub fn wait_for(&mut self, text: &str) {
        while !self.shown().contains(text) {
            assert!(self.read(text), "the program ended, and never showed {text:?}: {}", self.shown());
        }
    }

    /// Types keys once the screen has shown something.
    pub fn type_at(&mut self, prompt: &str, keys: &str) {
        self.wait_for(prompt);
        self.keyboard_and_screen.write_all(keys.as_bytes()).unwrap();
    }

    /// What was shown in all, and the exit code: 128 and the number of the signal that ended it, as a shell says it.
    pub fn end(mut self) -> (String, i32) {
        while self.read("its end") {}
        let status = self.child.wait().unwrap();
        (self.shown(), status.code().unwrap_or_else(|| 128 + status.signal().unwrap()))
    }

    /// Reads some more; false if nobody has the terminal open any more.
    fn read(&mut self, awaited: &str) -> bool {
        let left = PATIENCE.checked_sub(self.started.elapsed()).unwrap_or_default();
        let left = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: left.subsec_nanos().into() };
        let mut ready = [PollFd::new(&self.keyboard_and_screen, PollFlags::IN)];
        if poll(&mut ready, Some(&left)).unwrap() == 0 {
            let _ = self.child.kill();
            panic!("{awaited:?} did not come within {PATIENCE:?}; shown: {}", self.shown());
        }
        let mut bytes = [0; 4_096];
        match self.keyboard_and_screen.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.shown.extend(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            // EIO: the other side is closed.
            Err(_) => false,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
