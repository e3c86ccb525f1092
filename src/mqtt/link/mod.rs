//! The link to a broker of the user's own, by rumqttc.
//!
//! Two tasks serve a connection. The poller (`poller.rs`) does nothing but poll rumqttc's event loop, which is not safe to cancel and stops
//! reading while somebody waits for room in its request channel; it hands requests on without ever waiting. The session (`session.rs`)
//! answers them, is the only publisher, and acknowledges a request once its answer is queued.
//!
//! Each connection begins clean: Clean Start, no Session Expiry, and a new event loop and client. A session kept by the broker would gain
//! little, as devices give up on a request long before and answers expire in a minute, and costs much: a packet that cannot be handled is
//! delivered again at each resumption, and rumqttc carries packet ids, collisions and unsendable publishes into the next connection, where
//! they fail it again. What a connection could not finish is dropped with it and counted as shed; devices ask again.

mod backoff;
mod connect;
mod failure;
mod outbox;
mod places;
mod poller;
mod probe;
mod session;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use self::backoff::Backoff;
use self::failure::Failure;
use self::outbox::Outbox;
use self::session::{Interrupted, Session};
use super::Gateway;
use crate::oauth::Secret;

pub use self::probe::{Probe, ProbeError, ProbeOptions};
pub use outbox::Message;

/// Longest time that [`Link::stop`] takes.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the broker to close a connection after DISCONNECT.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the broker is and how to behave towards it.
pub struct LinkOptions {
    /// Host name or IP address; with TLS also what the broker's certificate must be valid for.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How to verify the broker and what to show it; `None` for MQTT without TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// MQTT client identifier; must be the only one of that name on the broker.
    pub client_id: String,
    /// MQTT user name.
    pub username: Option<String>,
    /// MQTT password; UTF-8.
    pub password: Option<Secret>,
    /// Seconds between pings; 5 if less.
    pub keep_alive: u16,
    /// Requests that may wait for the engine; past it they are answered `temporarily_unavailable`.
    pub queue: usize,
    /// The first wait before a reconnection.
    pub reconnect_min: Duration,
    /// The longest wait before a reconnection.
    pub reconnect_max: Duration,
}

/// The state of a link, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// The first connection is being made.
    Connecting,
    /// Subscribed and announced: requests are served.
    Up,
    /// Not connected; it is tried again for ever.
    Down {
        /// What happened and what to do about it.
        reason: String,
    },
}

/// A link that keeps itself connected. Dropping it drops the connection, and the broker publishes the Will.
pub struct Link {
    state: watch::Receiver<LinkState>,
    news: Arc<News>,
    messages: mpsc::Sender<Message>,
    orders: watch::Sender<Arc<LinkOptions>>,
    stop: watch::Sender<bool>,
    supervisor: JoinSet<()>,
}

/// What is to be published again.
#[derive(Default)]
struct News {
    all: Notify,
    lists: Notify,
}

impl Link {
    /// Starts the link; must be called in a tokio runtime.
    #[must_use]
    pub fn start(options: LinkOptions, gateway: Arc<Gateway>) -> Self {
        let (state_sender, state) = watch::channel(LinkState::Connecting);
        let (stop, stop_receiver) = watch::channel(false);
        let news = Arc::new(News::default());
        let (messages, outbox) = Outbox::new();
        let mut supervisor = JoinSet::new();
        let (orders, receiver) = watch::channel(Arc::new(options));
        let options = receiver.borrow().clone();
        let task =
            Supervisor { options, orders: receiver, gateway, state: state_sender, news: Arc::clone(&news), outbox, stop: stop_receiver };
        supervisor.spawn(task.run());
        Self { state, news, messages, orders, stop, supervisor }
    }

    /// The state, and its changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Publishes [`Gateway::changed_announcements`] soon; calls that come together make one publication.
    pub fn announce(&self) {
        self.news.all.notify_one();
    }

    /// Publishes [`Gateway::changed_lists`] soon, likewise.
    pub fn announce_lists(&self) {
        self.news.lists.notify_one();
    }

    /// Takes messages to publish at least once, in their order. While the link is down it takes but a few, and whoever sends waits.
    #[must_use]
    pub fn messages(&self) -> mpsc::Sender<Message> {
        self.messages.clone()
    }

    /// Connects anew by other options: to another broker, with another password or certificate. The new connection comes after the old one has ended.
    pub fn reconnect(&self, options: LinkOptions) {
        self.orders.send_replace(Arc::new(options));
    }

    /// Answers what is queued, publishes the retained status `offline` and disconnects; takes a few seconds at most.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.supervisor.join_next().await.is_some() {}
    }
}

/// Makes one connection after the other.
struct Supervisor {
    options: Arc<LinkOptions>,
    orders: watch::Receiver<Arc<LinkOptions>>,
    gateway: Arc<Gateway>,
    state: watch::Sender<LinkState>,
    news: Arc<News>,
    outbox: Outbox,
    stop: watch::Receiver<bool>,
}

/// How a connection, or the attempt at one, ended.
enum Ended {
    /// By [`Link::stop`].
    Stopped,
    /// By [`Link::reconnect`].
    Ordered,
    /// By a failure, so long after it was up; zero if it never was.
    Failed(Failure, Duration),
}

impl Supervisor {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.options.reconnect_min, self.options.reconnect_max);
        loop {
            if self.orders.has_changed().unwrap_or_default() {
                self.options = self.orders.borrow_and_update().clone();
                backoff = Backoff::new(self.options.reconnect_min, self.options.reconnect_max);
                info!(broker = self.address(), "broker link connects anew by other options");
                self.state.send_replace(LinkState::Connecting);
                self.gateway.counters().note_change(self.gateway.now());
            }
            let (failure, uptime) = match self.connect().await {
                Ended::Stopped => break,
                Ended::Ordered => continue,
                Ended::Failed(failure, uptime) => (failure, uptime),
            };
            if uptime > Duration::ZERO && matches!(failure, Failure::Closed { .. }) {
                self.gateway.counters().count_closed();
            }
            backoff.observe(uptime);
            let wait = backoff.next_wait();
            self.tell_down(&failure, wait);
            tokio::select! {
                () = sleep(wait) => {}
                () = stopped(&mut self.stop) => break,
                () = ordered(self.orders.clone()) => {}
            }
        }
        info!(broker = self.address(), "broker link stopped");
        self.state.send_replace(LinkState::Down { reason: "stopped".into() });
    }

    /// One connection, from the first packet to the last.
    async fn connect(&mut self) -> Ended {
        let (mut session, poller) = match Session::open(&self.options, &self.gateway) {
            Ok(opened) => opened,
            Err(failure) => return Ended::Failed(failure, Duration::ZERO),
        };
        // Dropping the set aborts the poller, and with it goes the socket.
        let mut poller_task = JoinSet::new();
        poller_task.spawn(poller.run());
        let established = tokio::select! {
            established = session.establish() => established,
            () = stopped(&mut self.stop) => return Ended::Stopped,
            () = ordered(self.orders.clone()) => return Ended::Ordered,
        };
        match established {
            Ok(()) => {}
            Err(Interrupted::Failed(failure)) => return Ended::Failed(failure, Duration::ZERO),
            Err(Interrupted::Disconnected) => return Ended::Failed(poller_failure(&mut poller_task).await, Duration::ZERO),
        }
        self.tell_up();
        let up_since = Instant::now();
        let (mut stop, orders) = (self.stop.clone(), self.orders.clone());
        let (leave, mut leaving) = watch::channel(false);
        let told_to_leave = async {
            tokio::select! {
                () = stopped(&mut stop) => {}
                () = ordered(orders) => {}
            }
            leave.send_replace(true);
            sleep(STOP_TIMEOUT).await;
        };
        let served = tokio::select! {
            served = session.serve(&self.news, &mut self.outbox, &mut leaving) => served,
            () = told_to_leave => {
                warn!(broker = self.address(), "the broker did not take the last messages in time; its copy of the Will says offline");
                return self.left();
            }
        };
        match served {
            Ok(()) => {
                let _ = timeout(CLOSE_TIMEOUT, poller_task.join_next()).await;
                self.left()
            }
            Err(_) if *leave.borrow() => self.left(),
            Err(_) => Ended::Failed(poller_failure(&mut poller_task).await, up_since.elapsed()),
        }
    }

    /// Why it left by itself.
    fn left(&self) -> Ended {
        if *self.stop.borrow() { Ended::Stopped } else { Ended::Ordered }
    }

    fn tell_up(&self) {
        info!(broker = self.address(), "broker link up");
        self.state.send_replace(LinkState::Up);
        self.gateway.counters().note_change(self.gateway.now());
    }

    /// Warns of what is new; an attempt that fails as the last one did is no news.
    fn tell_down(&self, failure: &Failure, wait: Duration) {
        let (reason, retry_ms) = (failure.to_string(), u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let down = LinkState::Down { reason: reason.clone() };
        if *self.state.borrow() == down {
            debug!(broker = self.address(), code = failure.code(), reason, retry_ms, "broker link still down");
        } else {
            warn!(broker = self.address(), code = failure.code(), reason, retry_ms, "broker link down");
            let before = self.state.send_replace(down);
            let counters = self.gateway.counters();
            if before == LinkState::Up {
                counters.count_disconnection();
            }
            if !matches!(before, LinkState::Down { .. }) {
                counters.note_change(self.gateway.now());
            }
        }
    }

    fn address(&self) -> String {
        connect::address(&self.options)
    }
}

/// Returns once the link is to stop; a link that was dropped has nothing to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns once the link is to connect by other options.
async fn ordered(mut orders: watch::Receiver<Arc<LinkOptions>>) {
    if orders.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn poller_failure(task: &mut JoinSet<Failure>) -> Failure {
    match task.join_next().await {
        Some(Ok(failure)) => failure,
        // rumqttc panics on some states it thinks unreachable.
        Some(Err(_)) | None => Failure::Internal,
    }
}
