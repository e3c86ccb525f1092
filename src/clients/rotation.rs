//! The rotation of a client's credentials: a new secret or key beside the old one, until the old one ends (protocol section 3).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AuthMethod, Client, ClientKey, ClientSecret, CredentialId, CredentialRef, MAX_KEYS};
use crate::clock::UnixTime;
use crate::jose::Jwk;
use crate::oauth::{ClientId, Secret};

/// A rotation under way: the last secret or key of the client takes the place of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// When it began.
    pub started_at: UnixTime,
    /// When the old credential ends. What the client itself began never ends the old one before the new one was used.
    pub ends_at: UnixTime,
    /// What else ends the old credential.
    pub retire: Retire,
    /// Who began it.
    pub started_by: Initiator,
    /// Of a client with keys, the ids of those that end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// When the new credential was first used, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<UnixTime>,
}

/// What ends the old credential of a rotation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retire {
    /// The first use of the new one, and the end of the overlap.
    #[default]
    FirstUse,
    /// The end of the overlap alone.
    End,
}

impl Retire {
    /// The word of the configuration and the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstUse => "first-use",
            Self::End => "end",
        }
    }
}

/// Who began a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initiator {
    /// An operator. The old credential may be known to others: it ends whatever happens.
    Operator,
    /// The client. Its answer may have been lost: the old credential serves until the new one was used.
    Client,
}

impl Initiator {
    /// The word for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Client => "client",
        }
    }
}

/// How a rotation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationRule {
    /// Seconds for which the old credential serves beside the new one.
    pub overlap: u32,
    /// What else ends it.
    pub retire: Retire,
}

impl Default for RotationRule {
    /// A week, or until the new one is used.
    fn default() -> Self {
        Self { overlap: 604_800, retire: Retire::FirstUse }
    }
}

/// A credential to take the place of another.
#[derive(Debug, Clone)]
pub enum NewCredential {
    /// A secret.
    Secret(ClientSecret),
    /// A key.
    Key(ClientKey),
}

/// What a client wants in place of its credential.
#[derive(Debug, Clone)]
pub enum CredentialWish {
    /// A secret that the gateway makes.
    Secret,
    /// To use this key.
    Key(Jwk),
}

/// A client with its new credential.
#[derive(Debug)]
pub struct Rotated {
    /// The client as it is now.
    pub client: Arc<Client>,
    /// Its new secret, to be handed over this once, if that was asked for.
    pub secret: Option<Secret>,
}

/// Where clients rotate their credentials.
pub trait CredentialStore: Send + Sync {
    /// Gives a client that authenticated `by` one of its credentials another beside it. Returns when that is durable.
    ///
    /// # Errors
    /// [`RotationFailure`]; then nothing has changed.
    fn rotate(
        &self,
        id: &ClientId,
        by: CredentialId,
        wish: CredentialWish,
        rule: RotationRule,
        now: UnixTime,
    ) -> Result<Rotated, RotationFailure>;
}

/// Why a store did not rotate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationFailure {
    /// It may not be.
    Refused(RotationError),
    /// It could not be kept.
    NotKept,
}

/// Why credentials are not rotated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// The client authenticates by the other method.
    #[error("a client keeps its authentication method, {}", .0.as_str())]
    OtherMethod(AuthMethod),
    /// A rotation is under way.
    #[error("a rotation is under way, begun by the {} at {started_at}", started_by.as_str())]
    UnderWay {
        /// Since when.
        started_at: UnixTime,
        /// By whom.
        started_by: Initiator,
        /// Until when the old credential serves, for all that is known.
        ends_at: UnixTime,
    },
    /// The client asked by a credential that has a successor in use.
    #[error("the credential has been replaced by one that is in use")]
    Replaced,
    /// The client has that key.
    #[error("the client has a key with the kid {0} already")]
    KnownKey(String),
    /// There is no room for another key.
    #[error("the client has {MAX_KEYS} keys already")]
    TooManyKeys,
    /// There is no rotation to cancel or to finish.
    #[error("no rotation is under way")]
    NotUnderWay,
    /// The new credential has been used, so that cancelling would lock out whoever has it.
    #[error("the new credential is in use since {0}")]
    InUse(UnixTime),
}

impl Rotation {
    fn has_ended(&self, now: UnixTime) -> bool {
        let may_end = self.started_by == Initiator::Operator || self.used_at.is_some();
        may_end && self.ends_at <= now
    }
}

impl Client {
    /// All its credentials, in the order in which they are tried.
    pub fn credentials(&self) -> impl Iterator<Item = CredentialRef<'_>> {
        self.secrets.iter().map(CredentialRef::Secret).chain(self.jwks.iter().map(CredentialRef::Key))
    }

    /// Whether one of its credentials may be used at that time.
    #[must_use]
    pub fn is_live(&self, credential: CredentialRef<'_>, now: UnixTime) -> bool {
        let valid = match credential {
            CredentialRef::Secret(secret) => secret.is_valid_at(now),
            CredentialRef::Key(key) => key.is_valid_at(now),
        };
        valid && !(self.rotation.as_ref().is_some_and(|rotation| rotation.has_ended(now)) && self.is_replaced(credential))
    }

    /// The new credential of the rotation under way.
    #[must_use]
    pub fn successor(&self) -> Option<CredentialId> {
        self.rotation.as_ref()?;
        self.credentials().last().map(CredentialRef::id)
    }

    /// Whether a use of that credential, the first of the new one, has yet to be kept.
    #[must_use]
    pub fn awaits_use_of(&self, credential: CredentialId) -> bool {
        self.rotation.as_ref().is_some_and(|rotation| rotation.used_at.is_none()) && self.successor() == Some(credential)
    }

    fn is_replaced(&self, credential: CredentialRef<'_>) -> bool {
        match (credential, &self.rotation) {
            (_, None) => false,
            (CredentialRef::Secret(_), Some(_)) => self.successor() != Some(credential.id()),
            (CredentialRef::Key(key), Some(rotation)) => rotation.replaces.iter().any(|kid| kid == key.jwk.kid()),
        }
    }

    /// Keeps the first use of the new credential, which may end the old one.
    pub fn confirm(&mut self, now: UnixTime) {
        if let Some(rotation) = &mut self.rotation {
            rotation.used_at.get_or_insert(now);
            if rotation.retire == Retire::FirstUse {
                self.retire();
            }
        }
    }

    /// Whether [`Self::settle`] would drop something.
    #[must_use]
    pub fn is_rotation_over(&self, now: UnixTime) -> bool {
        self.rotation.as_ref().is_some_and(|rotation| rotation.has_ended(now))
    }

    /// Drops old credentials whose time is over.
    pub fn settle(&mut self, now: UnixTime) {
        if self.is_rotation_over(now) {
            self.retire();
        }
    }

    /// Ends the old credentials, and with them the rotation.
    fn retire(&mut self) {
        if let Some(rotation) = self.rotation.take() {
            let newest = self.secrets.len().saturating_sub(1);
            self.secrets.drain(..newest);
            self.jwks.retain(|key| !rotation.replaces.iter().any(|kid| kid == key.jwk.kid()));
        }
    }

    /// Takes a new credential beside the old one: on behalf of an operator, or of the client itself, authenticated by the credential `by`.
    ///
    /// A client that asks again before it used the new credential gets another in its place, so that a lost answer locks nobody out. It asks for
    /// itself alone: of several keys, the one that it signed with is replaced.
    ///
    /// # Errors
    /// [`RotationError`]; then nothing has changed.
    pub fn rotate(&mut self, by: Option<CredentialId>, new: NewCredential, rule: RotationRule, now: UnixTime) -> Result<(), RotationError> {
        let mut client = self.clone();
        client.settle(now);
        if by.is_some_and(|by| client.awaits_use_of(by)) {
            client.confirm(now);
        }
        if let Some(rotation) = client.rotation.clone() {
            let old = by.and_then(|by| client.credentials().find(|known| known.id() == by)).is_some_and(|by| client.is_replaced(by));
            match (old, rotation.started_by, rotation.used_at) {
                (true, Initiator::Client, None) => client.drop_successor(),
                (true, Initiator::Client, Some(_)) => return Err(RotationError::Replaced),
                _ => {
                    let Rotation { started_at, started_by, ends_at, .. } = rotation;
                    return Err(RotationError::UnderWay { started_at, started_by, ends_at });
                }
            }
        }
        let mut replaces = Vec::new();
        match new {
            NewCredential::Secret(secret) if client.token_endpoint_auth_method == AuthMethod::ClientSecretPost => {
                // Two secrets without a rotation: the one that is not used to ask makes room, or else the older one.
                let kept = client.secrets.iter().rposition(|known| by.is_none_or(|by| CredentialRef::Secret(known).id() == by));
                if let Some(kept) = kept.and_then(|kept| client.secrets.get(kept)).cloned() {
                    client.secrets = vec![kept];
                }
                client.secrets.push(secret);
            }
            NewCredential::Key(key) if client.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt => {
                if client.jwks.iter().any(|known| known.jwk.kid() == key.jwk.kid() || known.jwk.thumbprint() == key.jwk.thumbprint()) {
                    return Err(RotationError::KnownKey(key.jwk.kid().to_owned()));
                }
                let replaced = |known: &&ClientKey| by.is_none_or(|by| CredentialRef::Key(known).id() == by);
                replaces = client.jwks.iter().filter(replaced).map(|known| known.jwk.kid().to_owned()).collect();
                client.jwks.push(key);
                if client.jwks.len() > MAX_KEYS && rule.overlap > 0 {
                    return Err(RotationError::TooManyKeys);
                }
            }
            _ => return Err(RotationError::OtherMethod(client.token_endpoint_auth_method)),
        }
        client.rotation = Some(Rotation {
            started_at: now,
            ends_at: now.saturating_add(rule.overlap.into()),
            retire: rule.retire,
            started_by: if by.is_some() { Initiator::Client } else { Initiator::Operator },
            replaces,
            used_at: None,
        });
        client.settle(now);
        if client.jwks.len() > MAX_KEYS {
            return Err(RotationError::TooManyKeys);
        }
        *self = client;
        Ok(())
    }

    /// Drops the new credential of the rotation under way, which nobody used yet.
    ///
    /// # Errors
    /// If there is none, or it is in use; then nothing has changed.
    pub fn cancel_rotation(&mut self, now: UnixTime) -> Result<(), RotationError> {
        self.settle(now);
        match self.rotation.as_ref().map(|rotation| rotation.used_at) {
            None => Err(RotationError::NotUnderWay),
            Some(Some(since)) => Err(RotationError::InUse(since)),
            Some(None) => {
                self.drop_successor();
                Ok(())
            }
        }
    }

    /// Ends the old credentials of the rotation under way now.
    ///
    /// # Errors
    /// If there is none; then nothing has changed.
    pub fn finish_rotation(&mut self, now: UnixTime) -> Result<(), RotationError> {
        self.settle(now);
        if self.rotation.is_none() {
            return Err(RotationError::NotUnderWay);
        }
        self.retire();
        Ok(())
    }

    fn drop_successor(&mut self) {
        self.rotation = None;
        match self.token_endpoint_auth_method {
            AuthMethod::ClientSecretPost => drop(self.secrets.pop()),
            AuthMethod::PrivateKeyJwt => drop(self.jwks.pop()),
        }
    }
}

#[cfg(test)]
mod tests;
