//! Whether this process still does what it is for.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::timekeeping::HostClock;
use crate::endpoint::Engine;
use crate::registry::Registry;
use crate::token::TokenEntropy;

/// What is tried out.
#[derive(Clone)]
pub(super) struct SelfTest {
    engine: Arc<Engine>,
    registry: Arc<Registry>,
    clock: Arc<HostClock>,
}

impl SelfTest {
    pub(super) fn new(engine: Arc<Engine>, registry: Arc<Registry>, clock: Arc<HostClock>) -> Self {
        Self { engine, registry, clock }
    }

    /// Whether a device could have a token now.
    ///
    /// # Errors
    /// Why not, for people.
    pub(super) fn issue(&self) -> Result<(), String> {
        let (mut secret, mut entropy) = (Zeroizing::new([0; 32]), TokenEntropy::default());
        getrandom::fill(secret.as_mut_slice())
            .and_then(|()| getrandom::fill(&mut entropy))
            .map_err(|error| format!("the system gives no random bytes: {error}"))?;
        self.engine.probe(&secret, entropy, self.clock.now()).map_err(|fault| match std::error::Error::source(&fault) {
            Some(cause) => format!("{fault}: {cause}"),
            None => fault.to_string(),
        })
    }

    /// The same, and whether the registry takes changes. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// Why not, for people.
    pub(super) fn run(&self) -> Result<(), String> {
        self.issue()?;
        self.registry.answers().map_err(|error| error.to_string())
    }
}
