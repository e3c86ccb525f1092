//! `credgate top`: the gateway on a terminal, as it works.
//!
//! Everything that happens comes to one loop as an event. Whatever says that nobody looks any more ends it: a key, a signal, a terminal that is
//! gone. The gateway is asked, keys are read and frames are written beside the loop, so that none of them can hold it up.

mod ansi;
mod draw;
mod keys;
mod model;
mod rows;
mod terminal;
mod view;

use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

use super::connect::control_socket;
use super::error::unexpected;
use super::{CliError, Exit, Format, Global};
use crate::admin::{Answer, Command, Metrics, exchange};
use ansi::Ansi;
use keys::{Key, Keys};
use model::{Model, Wish};
use terminal::Tty;
use view::Sample;

/// How many of the clients that were used last are asked for: all that one answer tells.
const RECENT: usize = 100;
/// A gateway that does not answer within this time is said not to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What follows an Escape within this time belongs to the same key.
const ESCAPE: Duration = Duration::from_millis(50);
/// How long a terminal that is slow is waited for at the end.
const AT_THE_END: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Seconds between two looks, 0.2 to 3600
    #[arg(long, short, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.2..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("must be a number of seconds from 0.2 to 3600")
}

/// What happens.
enum Event {
    Told(Box<Metrics>, Instant),
    Failed(CliError, Instant),
    Typed(Key),
    /// The terminal has another size, or another program had it for a while.
    Changed,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, CliError> {
    let for_programs = "for programs there is `credgate status --output json`, and the metrics over HTTP ([http] in the configuration)";
    if global.output == Format::Json {
        return Err(CliError::new(Exit::Usage, "usage", "top draws on a terminal and has no JSON").with_help(for_programs));
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let what = "top needs a terminal, and standard input or output is none";
        return Err(CliError::new(Exit::Usage, "no_terminal", what).with_help(for_programs));
    }
    if std::env::var_os("TERM").is_some_and(|name| name == "dumb") {
        return Err(CliError::new(Exit::Usage, "no_terminal", "top needs a terminal that can move its cursor, and TERM says `dumb`")
            .with_help("see `credgate status`"));
    }
    let socket = control_socket(global)?;
    let has_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let model = Model::new(socket.display().to_string(), args.interval.as_secs_f64(), has_colour);
    let failed = |error: io::Error| CliError::new(Exit::Software, "runtime", "signals and keys cannot be awaited").because(&error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let outcome = runtime.block_on(async {
        let (sender, events) = channel(64);
        let mut tasks = JoinSet::new();
        tasks.spawn(until_signalled(sender.clone()).map_err(failed)?);
        let tty = Tty::enter(io::stdin(), io::stdout())
            .map_err(|error| CliError::new(Exit::Io, "io", "the terminal cannot be used").because(&error))?;
        tty.give_back_on_panic();
        let (typing, interval, typed) = (tty.clone(), args.interval, sender.clone());
        tasks.spawn_blocking(move || until_gone(&typing, interval, &typed));
        tasks.spawn(ask(socket, args.interval, sender));
        let outcome = watch(model, &tty, tasks, events).await;
        tty.leave();
        outcome
    });
    // The thread that waits for keys is left behind, and one that writes to a terminal which takes nothing.
    runtime.shutdown_background();
    outcome
}

/// Shows what happens until one of the tasks ends, or a key says so.
async fn watch(mut model: Model, tty: &Tty, mut tasks: JoinSet<()>, mut events: Receiver<Event>) -> Result<Exit, CliError> {
    let begun = Instant::now();
    let Ok(mut screen) = Terminal::new(Ansi::new(tty.size()));
    let mut writing: Option<JoinHandle<io::Result<()>>> = None;
    let mut is_stale = true;
    loop {
        if is_stale && writing.is_none() && tty.is_ours() {
            screen.backend_mut().resize(tty.size());
            let Ok(_) = screen.draw(|frame| draw::draw(frame, &mut model));
            let (bytes, tty) = (screen.backend_mut().take(), tty.clone());
            writing = Some(tokio::task::spawn_blocking(move || tty.write(&bytes)));
            is_stale = false;
        }
        let event = tokio::select! {
            ended = tasks.join_next() => {
                if let Some(Err(error)) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
                break;
            }
            written = settled(&mut writing) => match written {
                true => continue,
                false => break,
            },
            event = events.recv() => event,
        };
        is_stale = true;
        match event {
            None => break,
            Some(Event::Told(metrics, at)) => model.told(Sample { at: at.saturating_duration_since(begun), metrics: *metrics }),
            // Without permission it is no use to wait; one who was let in before sees the gateway start again.
            Some(Event::Failed(error, _)) if model.view.is_none() && error.exit() == Exit::Permission => return Err(error),
            Some(Event::Failed(error, at)) => model.failed(in_words(&error), at.saturating_duration_since(begun)),
            Some(Event::Typed(key)) => match model.typed(key) {
                Wish::Quit => break,
                Wish::Redraw => {
                    let Ok(()) = screen.clear();
                }
                Wish::Nothing => {}
            },
            Some(Event::Changed) => {
                if tty.is_ours() && writing.is_none() && tty.begin().is_err() {
                    break;
                }
                let Ok(()) = screen.clear();
            }
        }
    }
    // What is being written ends before the terminal is given back, if it ends at all.
    let _ = timeout(AT_THE_END, settled(&mut writing)).await;
    Ok(Exit::Ok)
}

/// Whether a frame reached the terminal, once that is known; waits for ever while none is written.
async fn settled(writing: &mut Option<JoinHandle<io::Result<()>>>) -> bool {
    let Some(frame) = writing.as_mut() else { return std::future::pending().await };
    let outcome = frame.await;
    *writing = None;
    matches!(outcome, Ok(Ok(())))
}

/// An error on one line.
fn in_words(error: &CliError) -> String {
    let mut text = error.to_string();
    for cause in error.causes() {
        text.push_str(&format!(": {cause}"));
    }
    text
}

/// Asks the gateway again and again.
async fn ask(socket: PathBuf, interval: Duration, events: Sender<Event>) {
    loop {
        let begun = tokio::time::Instant::now();
        let event = match timeout(PATIENCE, look(&socket)).await {
            Ok(Ok(metrics)) => Event::Told(metrics, Instant::now()),
            Ok(Err(error)) => Event::Failed(error, Instant::now()),
            Err(_) => {
                let what = format!("no answer within {} s on {}", PATIENCE.as_secs(), socket.display());
                Event::Failed(CliError::new(Exit::Temporary, "timed_out", what), Instant::now())
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
        sleep_until(begun.checked_add(interval).unwrap_or(begun)).await;
    }
}

async fn look(socket: &Path) -> Result<Box<Metrics>, CliError> {
    match exchange(socket, &Command::Metrics { recent: RECENT }).await? {
        Answer::Metrics(metrics) => Ok(metrics),
        other => Err(unexpected(&other)),
    }
}

/// Reads keys on a thread of its own; ends when the terminal is gone.
fn until_gone(tty: &Tty, interval: Duration, events: &Sender<Event>) {
    let (mut keys, mut buffer) = (Keys::default(), [0; 256]);
    loop {
        // In the background nothing may be read: what is typed is for the shell.
        if !tty.is_ours() {
            if tty.is_gone() {
                return;
            }
            std::thread::sleep(interval);
            continue;
        }
        let typed = match tty.read(&mut buffer, if keys.is_pending() { ESCAPE } else { interval }) {
            Err(_) => return,
            Ok([]) => keys.flush().into_iter().collect(),
            Ok(bytes) => keys.push(bytes),
        };
        for key in typed {
            if events.blocking_send(Event::Typed(key)).is_err() {
                return;
            }
        }
    }
}

/// Ends when a signal says so; tells of those that change the terminal.
fn until_signalled(events: Sender<Event>) -> io::Result<impl Future<Output = ()> + Send> {
    let (mut hangup, mut terminate) = (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?);
    let (mut interrupt, mut quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
    let mut resized = signal(SignalKind::window_change())?;
    let mut continued = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => return,
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = quit.recv() => return,
                _ = resized.recv() => {}
                _ = continued.recv() => {}
            }
            if events.send(Event::Changed).await.is_err() {
                return;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_seconds_within_bounds() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("3600"), Ok(Duration::from_secs(3_600)));
        for text in ["0", "0.1", "-1", "3601", "NaN", "inf", "2s", ""] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_failure_is_told_on_one_line() {
        let error = CliError::new(Exit::Unavailable, "x", "nobody listens").because(&io::Error::other("no such file"));
        assert_eq!(in_words(&error), "nobody listens: no such file");
    }
}
