//! `credgate top` on a real terminal: what it shows, and that it ends with whoever looks.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

use crate::device::{Ask, Device, body};
use crate::site::{CREDGATE, Site, wait_for};

/// A terminal, seen from the side of who looks at it.
struct Terminal {
    /// `None` once nobody looks any more.
    master: Option<OwnedFd>,
    /// The program's side, kept to see the modes that it leaves behind.
    slave: OwnedFd,
    screen: Screen,
    child: Child,
}

/// The program's terminal.
#[derive(Clone, Copy, PartialEq)]
enum Control {
    /// It tells the program by signals when it is closed.
    Controlling,
    /// It does not.
    Other,
}

/// What a terminal makes of the bytes it gets; it knows the control sequences that `top` uses and no others.
#[derive(Default)]
struct Screen {
    cells: Vec<Vec<char>>,
    at: (usize, usize),
    pending: Vec<u8>,
    all: Vec<u8>,
}

impl Screen {
    fn resize(&mut self, columns: u16, rows: u16) {
        self.cells = vec![vec![' '; columns.into()]; rows.into()];
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.all.extend(bytes);
        self.pending.extend(bytes);
        while let Some(length) = self.first() {
            self.pending.drain(..length);
        }
    }

    /// Takes one character or sequence; its length, or `None` if it is not complete.
    fn first(&mut self) -> Option<usize> {
        let (first, second) = (*self.pending.first()?, self.pending.get(1).copied());
        if first == 0x1b {
            assert_eq!(second?, b'[', "a sequence that was not expected: {:?}", String::from_utf8_lossy(&self.pending));
            let length = self.pending.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte))? + 3;
            let parameters = String::from_utf8(self.pending[2..length - 1].to_vec()).unwrap();
            match self.pending[length - 1] {
                b'H' => {
                    let (row, column) = parameters.split_once(';').unwrap();
                    self.at = (row.parse::<usize>().unwrap() - 1, column.parse::<usize>().unwrap() - 1);
                }
                b'J' => self.cells.iter_mut().flatten().for_each(|cell| *cell = ' '),
                b'm' | b'h' | b'l' => {}
                other => panic!("an unknown sequence {parameters}{}", char::from(other)),
            }
            return Some(length);
        }
        let length = [(0x80, 1), (0xe0, 2), (0xf0, 3)].iter().find(|(limit, _)| first < *limit).map_or(4, |(_, length)| *length);
        let character = std::str::from_utf8(self.pending.get(..length)?).unwrap().chars().next().unwrap();
        let (row, column) = self.at;
        // A frame that was drawn for another size.
        if let Some(cell) = self.cells.get_mut(row).and_then(|row| row.get_mut(column)) {
            *cell = character;
        }
        self.at = (row, column + 1);
        Some(length)
    }

    fn text(&self) -> String {
        self.cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

impl Terminal {
    /// `credgate top` on a terminal of that size.
    fn open(site: &Site, control: Control, size: (u16, u16), environment: &[(&str, &str)]) -> Self {
        let config = site.config();
        let arguments = [CREDGATE, "top", "--interval", "0.2", "--config", config.to_str().unwrap()];
        let leader = if control == Control::Controlling { &["setsid", "--ctty"][..] } else { &[] };
        Self::run(&[leader, &arguments].concat(), size, environment)
    }

    fn run(arguments: &[&str], size: (u16, u16), environment: &[(&str, &str)]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]).env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
        set_size(&master, size);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let mut screen = Screen::default();
        screen.resize(size.0, size.1);
        Self { master: Some(master), slave, screen, child }
    }

    fn resize(&mut self, size: (u16, u16)) {
        self.look();
        self.screen.resize(size.0, size.1);
        set_size(self.master.as_ref().unwrap(), size);
    }

    /// Takes in what was drawn.
    fn look(&mut self) {
        let master = self.master.as_ref().unwrap();
        let mut buffer = [0; 4096];
        loop {
            let mut watched = [PollFd::from_borrowed_fd(master.as_fd(), PollFlags::IN)];
            if poll(&mut watched, Some(&Timespec::default())).unwrap() == 0 || !watched[0].revents().contains(PollFlags::IN) {
                return;
            }
            let length = rustix::io::read(master, &mut buffer).unwrap();
            self.screen.feed(&buffer[..length]);
        }
    }

    /// Waits until all of these are on the screen together.
    fn wait_for(&mut self, words: &[&str]) {
        let mut text = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(&format!("{words:?}"), || {
                self.look();
                text = self.screen.text();
                words.iter().all(|word| text.contains(word)).then_some(())
            });
        }));
        assert!(found.is_ok(), "{words:?} did not come; the screen is\n{text}");
    }

    /// Waits until a row that begins with `name` has these totals and, as nothing happens any more, zeros for rates.
    fn wait_for_row(&mut self, name: &str, totals: &[u64]) {
        wait_for(&format!("{name} {totals:?}"), || {
            self.look();
            let text = self.screen.text();
            let words: Vec<&str> =
                text.lines().map(|line| line.trim_matches(['│', ' '])).find(|line| line.starts_with(name))?.split_whitespace().collect();
            let numbers: Vec<u64> = words.iter().map_while(|word| if *word == name { Some(0) } else { word.parse().ok() }).collect();
            let numbers: Vec<u64> = numbers.into_iter().filter(|number| *number > 0).collect();
            (numbers == totals).then_some(())
        });
    }

    fn type_keys(&self, keys: &str) {
        assert_eq!(rustix::io::write(self.master.as_ref().unwrap(), keys.as_bytes()).unwrap(), keys.len());
    }

    /// Nobody looks any more.
    fn close(&mut self) {
        self.master = None;
    }

    fn ended(&mut self) -> ExitStatus {
        wait_for("the end of the program", || {
            if self.master.is_some() {
                self.look();
            }
            self.child.try_wait().unwrap()
        })
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// Whether the screen from before is back, and the cursor on it.
    fn is_given_back(&mut self) -> bool {
        self.look();
        !self.is_raw() && self.screen.all.ends_with(b"\x1b[0m\x1b[?25h\x1b[?1049l")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(end: &OwnedFd, (columns, rows): (u16, u16)) {
    tcsetwinsize(end, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// A device that was given a token, and one that was refused for its secret; the first goes on.
fn ask(site: &Site) -> (Device, String) {
    site.define_policy();
    let secret = site.add_client_with("dev1", &["--scope", "telemetry:write", "--name", "The boiler"]);
    let device = Device::connect(site, "dev1", &secret);
    assert!(body(&device.request(&Ask::json("dev1", &secret, &json!({}))))["access_token"].is_string());
    (device, secret)
}

#[test]
fn the_screen_shows_what_happens() {
    let site = Site::mosquitto();
    let (device, secret) = ask(&site);
    let mut terminal = Terminal::open(&site, Control::Controlling, (60, 20), &[]);
    terminal.wait_for(&["credgate", "Broker   up since", "OPERATION", "requests/s", "q quit"]);
    assert!(terminal.is_raw());
    terminal.type_keys("2");
    terminal.wait_for(&["REASON", "none since the start"]);
    assert_eq!(body(&device.request(&Ask::json("dev1", "wrong", &json!({}))))["error"], "invalid_client");
    terminal.wait_for(&["wrong_secret"]);
    // The arrow keys go round: back to the first panel, and on to the last.
    terminal.type_keys("\u{1b}[D\u{1b}[D");
    terminal.wait_for(&["CLIENT ID", "dev1", "The boiler", "ago"]);
    terminal.resize((160, 50));
    terminal.wait_for(&["OPERATION", "wrong_secret", "90 % within", "65536", "The boiler"]);
    assert!(body(&device.request(&Ask::json("dev1", &secret, &json!({}))))["access_token"].is_string());
    terminal.wait_for_row("token", &[2, 1]);
    terminal.type_keys("?");
    terminal.wait_for(&["any key closes it"]);
    terminal.type_keys("?q");
    assert!(terminal.ended().success() && terminal.is_given_back());
}

#[test]
fn a_gateway_that_stops_is_told_of_and_found_again() {
    let site = Site::mosquitto();
    let mut terminal = Terminal::open(&site, Control::Controlling, (100, 24), &[]);
    terminal.wait_for(&["Broker   up since"]);
    site.stop("TERM");
    terminal.wait_for(&["No answer from the gateway", "no gateway listens on", "Trying again", "Broker   up since"]);
    site.start();
    wait_for("the gateway", || {
        terminal.look();
        let text = terminal.screen.text();
        (text.contains("Broker   up since") && !text.contains("No answer")).then_some(())
    });
    // Ctrl-C is a key like any other on such a terminal.
    terminal.type_keys("\u{3}");
    assert!(terminal.ended().success() && terminal.is_given_back());
}

#[test]
fn a_gateway_need_not_run_for_it_to_be_watched() {
    let site = Site::mosquitto();
    site.stop("TERM");
    let mut terminal = Terminal::open(&site, Control::Other, (60, 20), &[("NO_COLOR", "1")]);
    terminal.wait_for(&["No answer from the gateway"]);
    site.start();
    terminal.wait_for(&["Broker   up since"]);
    terminal.type_keys("\u{1b}");
    assert!(terminal.ended().success(), "Escape ends it, too");
    let all = String::from_utf8(std::mem::take(&mut terminal.screen.all)).unwrap();
    let colours: Vec<&str> = all.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m').map(|(codes, _)| codes)).collect();
    let is_colour = |codes: &&&str| codes.split(';').any(|code| code.len() == 2);
    assert!(colours.iter().any(|codes| codes.contains('7')), "the alarm is reversed: {all:?}");
    assert_eq!(colours.iter().find(is_colour), None);
}

#[test]
fn it_ends_with_its_terminal() {
    let site = Site::mosquitto();
    for control in [Control::Controlling, Control::Other] {
        let mut terminal = Terminal::open(&site, control, (80, 24), &[]);
        terminal.wait_for(&["Broker   up since"]);
        terminal.close();
        terminal.ended();
    }
}

#[test]
fn it_ends_with_a_signal_and_gives_the_terminal_back() {
    let site = Site::mosquitto();
    for name in ["TERM", "HUP", "INT", "QUIT"] {
        let mut terminal = Terminal::open(&site, Control::Other, (80, 24), &[]);
        terminal.wait_for(&["Broker   up since"]);
        signal(terminal.child.id(), name);
        assert!(terminal.ended().success() && terminal.is_given_back(), "{name}");
    }
}

#[test]
fn a_terminal_that_nobody_reads_does_not_keep_it_from_ending() {
    let site = Site::mosquitto();
    let mut terminal = Terminal::open(&site, Control::Other, (300, 100), &[]);
    terminal.wait_for(&["Broker   up since"]);
    wait_for("a full terminal", || {
        // Each draws the screen anew, and nothing is taken away.
        terminal.type_keys("\u{c}");
        let mut watched = [PollFd::from_borrowed_fd(terminal.slave.as_fd(), PollFlags::OUT)];
        (poll(&mut watched, Some(&Timespec::default())).unwrap() == 0).then_some(())
    });
    signal(terminal.child.id(), "TERM");
    let ended = wait_for("the end of the program", || terminal.child.try_wait().unwrap());
    assert!(ended.success() && !terminal.is_raw());
}

/// Whether a process is gone, or was buried by nobody.
fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'),
        Err(error) => error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(3),
    }
}

#[test]
fn an_orphan_ends() {
    let site = Site::mosquitto();
    for trap in ["", "trap '' HUP; "] {
        let line = format!("{trap}{CREDGATE} top --config {}; :", site.config().display());
        let mut terminal = Terminal::run(&["setsid", "--ctty", "sh", "-c", &line], (80, 24), &[]);
        terminal.wait_for(&["Broker   up since"]);
        let shell = terminal.child.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let orphan: u32 = children.trim().parse().unwrap();
        // The shell cannot say goodbye, and then the window is closed.
        signal(shell, "KILL");
        terminal.child.wait().unwrap();
        terminal.close();
        wait_for("the end of the orphan", || is_gone(orphan).then_some(()));
    }
}

#[test]
fn it_needs_a_terminal() {
    for arguments in [&["top"][..], &["top", "--output", "json"]] {
        let output = Command::new(CREDGATE).args(arguments).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(64) && told.contains("credgate status --output json"), "{told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
#[cfg(feature = "http")]
fn the_screen_and_status_and_metrics_agree() {
    let site = Site::mosquitto_with("[http]\nlisten = [\"127.0.0.1:0\"]\n", "trusted = true\n");
    let (device, secret) = ask(&site);
    for (secret, times) in [(secret.as_str(), 2), ("wrong", 4)] {
        (0..times).for_each(|_| drop(device.request(&Ask::json("dev1", secret, &json!({})))));
    }
    let status = site.status().unwrap();
    let counters = &status["broker"]["counters"];
    assert_eq!((&counters["accepted"], &counters["tokens"], &counters["rejected"]), (&json!(3), &json!(3), &json!(4)));
    let samples = crate::http::scrape(status["http"][0].as_str().unwrap());
    let of = |name: &str, labels: &str| samples[&format!("credgate_{name}{{link=\"broker\",{labels}}}")];
    assert_eq!(of("requests_total", "operation=\"token\",outcome=\"accepted\""), 3.0);
    assert_eq!(of("requests_total", "operation=\"token\",outcome=\"rejected\""), 4.0);
    assert_eq!(of("refusals_total", "reason=\"wrong_secret\""), 4.0);
    let mut terminal = Terminal::open(&site, Control::Other, (80, 24), &[]);
    terminal.wait_for_row("token", &[3, 4]);
    terminal.type_keys("2");
    terminal.wait_for_row("wrong_secret", &[4]);
    terminal.type_keys("3");
    terminal.wait_for_row("requests", &[7]);
    assert_eq!(samples["credgate_token_request_duration_seconds_count{link=\"broker\"}"], 7.0);
}
