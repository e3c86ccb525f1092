//! What is on the screen, and what a key changes of it.

use std::cmp::Reverse;
use std::time::Duration;

use super::keys::Key;
use super::view::{Sample, Tracker, View};
use crate::admin::RecentClient;

/// A part of the screen; on a small one, one of them is seen at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    Requests,
    Refusals,
    Latency,
    Process,
    Clients,
}

impl Panel {
    /// In the order of their numbers.
    pub(super) const ALL: [Self; 5] = [Self::Requests, Self::Refusals, Self::Latency, Self::Process, Self::Clients];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Requests => "Requests",
            Self::Refusals => "Refusals",
            Self::Latency => "Latency",
            Self::Process => "Process",
            Self::Clients => "Clients",
        }
    }

    fn neighbour(self, steps: usize) -> Self {
        Self::ALL.into_iter().cycle().skip_while(|panel| *panel != self).nth(steps).unwrap_or(self)
    }
}

/// The order of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    LastUse,
    Id,
    Name,
}

/// The gateway does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Why.
    pub(super) reason: String,
    /// Since when, by the clock of [`Sample::at`].
    pub(super) since: Duration,
    /// When it was asked last.
    pub(super) last: Duration,
}

/// What a key asks for beyond the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Redraw,
    Quit,
}

/// What is on the screen.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) panel: Panel,
    /// The first row of the panel that is seen; drawing corrects what is too far.
    pub(super) offset: usize,
    /// How many rows were seen last.
    pub(super) page: usize,
    pub(super) order: Order,
    pub(super) is_paused: bool,
    pub(super) has_help: bool,
    /// Whether there are colours.
    pub(super) has_colour: bool,
    /// Seconds between two looks.
    pub(super) every: f64,
    /// The control socket.
    pub(super) socket: String,
    pub(super) view: Option<View>,
    pub(super) failure: Option<Failure>,
    tracker: Tracker,
}

impl Model {
    pub(super) fn new(socket: String, every: f64, has_colour: bool) -> Self {
        Self {
            panel: Panel::Requests,
            offset: 0,
            page: 1,
            order: Order::LastUse,
            is_paused: false,
            has_help: false,
            has_colour,
            every,
            socket,
            view: None,
            failure: None,
            tracker: Tracker::default(),
        }
    }

    /// The gateway told this. While the screen is paused it is remembered, and not shown.
    pub(super) fn told(&mut self, sample: Sample) {
        self.failure = None;
        let view = self.tracker.view(sample);
        if !self.is_paused || self.view.is_none() {
            self.view = Some(view);
            self.sort();
        }
    }

    /// The gateway did not answer at that time.
    pub(super) fn failed(&mut self, reason: String, at: Duration) {
        let since = self.failure.take().map_or(at, |failure| failure.since);
        self.failure = Some(Failure { reason, since, last: at });
    }

    /// A key was typed.
    pub(super) fn typed(&mut self, key: Key) -> Wish {
        if self.has_help && !matches!(key, Key::Char('q') | Key::Interrupt | Key::Redraw) {
            self.has_help = false;
            return Wish::Nothing;
        }
        match key {
            Key::Char('q') | Key::Escape | Key::Interrupt => return Wish::Quit,
            Key::Redraw => return Wish::Redraw,
            Key::Tab | Key::Right => self.go_to(self.panel.neighbour(1)),
            Key::BackTab | Key::Left => self.go_to(self.panel.neighbour(Panel::ALL.len().saturating_sub(1))),
            Key::Char(digit @ '1'..='5') => {
                let number = digit.to_digit(10).and_then(|number| usize::try_from(number).ok()).unwrap_or(1);
                self.go_to(Panel::Requests.neighbour(number.saturating_sub(1)));
            }
            Key::Down | Key::Char('j') => self.offset = self.offset.saturating_add(1),
            Key::Up | Key::Char('k') => self.offset = self.offset.saturating_sub(1),
            Key::PageDown | Key::Char(' ') => self.offset = self.offset.saturating_add(self.page),
            Key::PageUp => self.offset = self.offset.saturating_sub(self.page),
            Key::Home => self.offset = 0,
            Key::End => self.offset = usize::MAX,
            Key::Char('s') => {
                self.order = match self.order {
                    Order::LastUse => Order::Id,
                    Order::Id => Order::Name,
                    Order::Name => Order::LastUse,
                };
                self.sort();
                self.go_to(Panel::Clients);
            }
            Key::Char('p') => self.is_paused = !self.is_paused,
            Key::Char('?' | 'h') => self.has_help = true,
            Key::Char(_) => {}
        }
        Wish::Nothing
    }

    fn go_to(&mut self, panel: Panel) {
        self.panel = panel;
        self.offset = 0;
    }

    fn sort(&mut self) {
        let Some(view) = &mut self.view else { return };
        let clients: &mut Vec<RecentClient> = &mut view.metrics.recent;
        match self.order {
            Order::LastUse => clients.sort_by_key(|client| Reverse(client.last_used)),
            Order::Id => clients.sort_by(|one, other| one.client_id.cmp(&other.client_id)),
            Order::Name => clients.sort_by(|one, other| one.client_name.cmp(&other.client_name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::sample;
    use super::*;

    fn model() -> Model {
        Model::new("/run/credgate/control.sock".into(), 2.0, true)
    }

    fn ids(model: &Model) -> Vec<String> {
        model.view.iter().flat_map(|view| &view.metrics.recent).map(|client| client.client_id.to_string()).collect()
    }

    #[test]
    fn keys_go_round_the_panels() {
        let mut model = model();
        for (key, panel) in [
            (Key::Tab, Panel::Refusals),
            (Key::Right, Panel::Latency),
            (Key::BackTab, Panel::Refusals),
            (Key::Left, Panel::Requests),
            (Key::Left, Panel::Clients),
            (Key::Tab, Panel::Requests),
            (Key::Char('4'), Panel::Process),
            (Key::Char('1'), Panel::Requests),
            (Key::Char('9'), Panel::Requests),
        ] {
            assert_eq!((model.typed(key), model.panel), (Wish::Nothing, panel), "{key:?}");
        }
        for key in [Key::Char('q'), Key::Escape, Key::Interrupt] {
            assert_eq!(model.typed(key), Wish::Quit);
        }
        assert_eq!(model.typed(Key::Redraw), Wish::Redraw);
    }

    #[test]
    fn help_is_closed_by_any_key() {
        let mut model = model();
        model.typed(Key::Char('?'));
        assert!(model.has_help);
        assert_eq!((model.typed(Key::Escape), model.has_help), (Wish::Nothing, false));
        model.typed(Key::Char('h'));
        assert_eq!(model.typed(Key::Char('q')), Wish::Quit, "but for those that end the program");
    }

    #[test]
    fn clients_are_sorted_as_asked_for() {
        let mut model = model();
        model.told(sample(100));
        assert_eq!(ids(&model), ["pump-1", "pump-2", "boiler"]);
        model.typed(Key::Char('s'));
        assert_eq!((ids(&model), model.panel), (["boiler", "pump-1", "pump-2"].map(str::to_owned).to_vec(), Panel::Clients));
        model.told(sample(102));
        assert_eq!(ids(&model)[0], "boiler");
        model.typed(Key::Char('s'));
        model.typed(Key::Char('s'));
        assert_eq!(ids(&model)[0], "pump-1");
    }

    #[test]
    fn a_paused_screen_stands_still_and_rates_go_on() {
        let mut model = model();
        model.told(sample(100));
        model.typed(Key::Char('p'));
        model.told(sample(110));
        assert_eq!(model.view.as_ref().map(|view| view.metrics.status.uptime), Some(100));
        model.typed(Key::Char('p'));
        model.told(sample(112));
        let view = model.view.as_ref().unwrap();
        assert_eq!((view.interval, view.requests.rate, view.curve.len()), (Some(2.0), Some(3.0), 2));
    }

    #[test]
    fn a_failure_is_known_from_its_beginning_until_an_answer() {
        let mut model = model();
        model.failed("one".into(), Duration::from_secs(7));
        model.failed("two".into(), Duration::from_secs(9));
        let expected = Failure { reason: "two".into(), since: Duration::from_secs(7), last: Duration::from_secs(9) };
        assert_eq!(model.failure, Some(expected));
        model.told(sample(1));
        assert_eq!(model.failure, None);
    }
}
