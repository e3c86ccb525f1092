//! The links in operation.

#[cfg(feature = "embedded-broker")]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(feature = "embedded-broker")]
use crate::mqtt::broker::EmbeddedBroker;
use crate::mqtt::link::{Link, LinkOptions, LinkState};

/// The links in operation; taken out when the daemon stops.
#[derive(Default)]
pub(super) struct Links {
    broker: Mutex<Option<Link>>,
    #[cfg(feature = "embedded-broker")]
    embedded: Mutex<Option<EmbeddedBroker>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Links {
    pub(super) fn set_broker(&self, link: Link) {
        *locked(&self.broker) = Some(link);
    }

    #[cfg(feature = "embedded-broker")]
    pub(super) fn set_embedded(&self, broker: EmbeddedBroker) {
        *locked(&self.embedded) = Some(broker);
    }

    /// Connects the link to the user's own broker anew, if there is one.
    pub(super) fn reconnect(&self, options: LinkOptions) {
        if let Some(link) = locked(&self.broker).as_ref() {
            link.reconnect(options);
        }
    }

    /// Has the embedded broker show another certificate, if there is one.
    #[cfg(feature = "embedded-broker")]
    pub(super) fn show(&self, tls: Arc<rustls::ServerConfig>) {
        if let Some(broker) = locked(&self.embedded).as_ref() {
            broker.show(tls);
        }
    }

    /// What the gateway says of itself has changed: keys, scopes.
    pub(super) fn announce(&self) {
        if let Some(link) = locked(&self.broker).as_ref() {
            link.announce();
        }
        #[cfg(feature = "embedded-broker")]
        if let Some(broker) = locked(&self.embedded).as_ref() {
            broker.announce();
        }
    }

    /// Something was revoked.
    pub(super) fn announce_lists(&self) {
        if let Some(link) = locked(&self.broker).as_ref() {
            link.announce_lists();
        }
        #[cfg(feature = "embedded-broker")]
        if let Some(broker) = locked(&self.embedded).as_ref() {
            broker.announce_lists();
        }
    }

    /// The state of the link to the user's own broker, unless it has ended.
    pub(super) fn broker_state(&self) -> Option<LinkState> {
        locked(&self.broker).as_ref().map(|link| link.state().borrow().clone())
    }

    /// Whether the embedded broker takes connections, and how many it has.
    pub(super) fn embedded_state(&self) -> (bool, usize) {
        #[cfg(feature = "embedded-broker")]
        if let Some(broker) = locked(&self.embedded).as_ref() {
            return (broker.is_serving(), broker.connections());
        }
        (false, 0)
    }

    /// The addresses on which the embedded broker listens; empty without it.
    pub(super) fn embedded_addrs(&self) -> Vec<std::net::SocketAddr> {
        #[cfg(feature = "embedded-broker")]
        if let Some(broker) = locked(&self.embedded).as_ref() {
            return broker.local_addrs().to_vec();
        }
        Vec::new()
    }

    /// Says goodbye on all links and ends them.
    pub(super) async fn stop(&self) {
        let link = locked(&self.broker).take();
        if let Some(link) = link {
            link.stop().await;
        }
        #[cfg(feature = "embedded-broker")]
        {
            let broker = locked(&self.embedded).take();
            if let Some(broker) = broker {
                broker.stop().await;
            }
        }
    }
}
