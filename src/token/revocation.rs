//! Tokens that are void before they expire: single ones, and all that a client got before a time.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::clock::UnixTime;
use crate::oauth::{ClientId, ResourceServerId};

/// Seconds no token lives longer, whatever an operator sets.
pub const LONGEST_LIFE: u32 = 86_400;
/// Seconds that a revocation is kept after its moment: until no clock takes a token from before it any more.
const RETENTION: u64 = 90_000;
/// Single tokens of one client that are void at once; more become a time before which all are.
pub const MAX_REVOKED: usize = 16;

/// The hash of a token after RFC 9770 section 3: 01, for SHA-256 (RFC 6920 section 9.4), and the SHA-256 of the token as JSON carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 33]);

impl TokenHash {
    /// The hash of a token: the characters of a JWT, or the base64url of a CWT with its tags.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut bytes = [1; 33];
        if let Some((_, rest)) = bytes.split_first_mut() {
            rest.copy_from_slice(&Sha256::digest(token));
        }
        Self(bytes)
    }

    /// The hash of these bytes, if they have its form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().filter(|bytes: &[u8; 33]| bytes.first() == Some(&1)).map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

/// Base64url.
impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)?;
        Self::from_bytes(&bytes).ok_or_else(|| serde::de::Error::custom("no token hash"))
    }
}

/// A single token that is void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedToken {
    /// Where it would be taken.
    pub resource_server: ResourceServerId,
    /// Its id, which its holder cannot change: a signature or its base64url may have more than one form.
    pub jti: String,
    /// Its hash in the form in which it was presented.
    pub hash: TokenHash,
    /// Its `iat`.
    pub issued_at: UnixTime,
    /// Its `exp`.
    pub expires_at: UnixTime,
}

/// What is void of the tokens of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocations {
    /// Whose: of whoever had or has this id.
    pub client_id: ClientId,
    /// Every token with an `iat` before this.
    pub issued_before: Option<UnixTime>,
    /// These tokens; none of them is before `issued_before`.
    pub tokens: Vec<RevokedToken>,
}

impl Revocations {
    /// Nothing is void.
    #[must_use]
    pub fn none(client_id: ClientId) -> Self {
        Self { client_id, issued_before: None, tokens: Vec::new() }
    }

    /// Whether the token with this id and `iat` is void.
    #[must_use]
    pub fn voids(&self, jti: &str, issued_at: UnixTime) -> bool {
        self.issued_before.is_some_and(|bound| issued_at < bound) || self.tokens.iter().any(|token| token.jti == jti)
    }

    /// Voids every token issued before that time. A time before never moves back.
    pub fn cut_off(&mut self, issued_before: UnixTime) {
        self.issued_before = self.issued_before.max(Some(issued_before));
        self.tokens.retain(|token| self.issued_before.is_none_or(|bound| token.issued_at >= bound));
    }

    /// Voids a single token. Past [`MAX_REVOKED`] all that is as old as the older half of them becomes void with them.
    pub fn revoke(&mut self, token: RevokedToken, now: UnixTime) {
        self.settle(now);
        if self.voids(&token.jti, token.issued_at) {
            return;
        }
        self.tokens.push(token);
        if self.tokens.len() > MAX_REVOKED {
            self.tokens.sort_by_key(|token| token.issued_at);
            if let Some(middle) = self.tokens.get(MAX_REVOKED / 2).map(|token| token.issued_at) {
                self.cut_off(middle.saturating_add(1));
            }
        }
    }

    /// Forgets what no clock takes any more.
    pub fn settle(&mut self, now: UnixTime) {
        self.issued_before = self.issued_before.filter(|bound| matters(*bound, now));
        self.tokens.retain(|token| matters(token.issued_at, now));
    }

    /// The time before which every token is void, if it still matters.
    pub(super) fn bound(&self, now: UnixTime) -> Option<UnixTime> {
        self.issued_before.filter(|bound| matters(*bound, now))
    }

    /// The single tokens that still matter at a resource server.
    pub(super) fn tokens_at(&self, server: &ResourceServerId, now: UnixTime) -> impl Iterator<Item = &RevokedToken> {
        self.tokens.iter().filter(move |token| token.resource_server == *server && matters(token.issued_at, now))
    }

    /// Whether nothing is void.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.issued_before.is_none() && self.tokens.is_empty()
    }
}

/// Whether a token from that time could still be taken somewhere.
fn matters(issued_at: UnixTime, now: UnixTime) -> bool {
    issued_at.saturating_add(RETENTION) > now
}

/// Everything that is void at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevocationState {
    /// Grows with every change, and never comes again.
    pub sequence: u64,
    /// Of each client that has any.
    pub clients: Vec<Arc<Revocations>>,
    /// Resource servers that were removed: their lists are to be taken away wherever they are retained.
    pub removed: Vec<ResourceServerId>,
}

/// A revocation that was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotKept;

/// Where revocations are kept. Every look comes from memory.
pub trait RevocationStore: Send + Sync {
    /// What is void of the tokens of a client; `None` for nothing.
    fn revocations(&self, client_id: &ClientId) -> Option<Arc<Revocations>>;

    /// Everything that is void.
    fn revocation_state(&self) -> RevocationState;

    /// Voids a single token of a client. Returns once that is on the disk.
    ///
    /// # Errors
    /// If the disk refuses: then the token is as good as before.
    fn revoke(&self, client_id: &ClientId, token: RevokedToken, now: UnixTime) -> Result<(), NotKept>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);

    fn token(number: u64) -> RevokedToken {
        let issued_at = NOW.saturating_add(number);
        RevokedToken {
            resource_server: "rs".parse().unwrap(),
            jti: number.to_string(),
            hash: TokenHash::of(&number.to_string()),
            issued_at,
            expires_at: issued_at.saturating_add(300),
        }
    }

    fn none() -> Revocations {
        Revocations::none("dev1".parse().unwrap())
    }

    #[test]
    fn the_hash_is_that_of_rfc_9770() {
        // SHA-256 of "abc" (FIPS 180-4), with the number of sha-256 in RFC 6920 section 9.4 before it.
        let hex: String = TokenHash::of("abc").as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let text = serde_json::to_string(&TokenHash::of("abc")).unwrap();
        assert_eq!(serde_json::from_str::<TokenHash>(&text).unwrap(), TokenHash::of("abc"));
        assert_eq!(TokenHash::from_bytes(&[2; 33]), None);
        assert_eq!(TokenHash::from_bytes(&[1; 32]), None);
    }

    #[test]
    fn a_cut_off_never_moves_back_and_takes_single_tokens_in() {
        let mut revocations = none();
        revocations.revoke(token(1), NOW);
        revocations.revoke(token(9), NOW);
        revocations.cut_off(NOW.saturating_add(5));
        revocations.cut_off(NOW);
        assert_eq!(revocations.issued_before, Some(NOW.saturating_add(5)));
        assert_eq!(revocations.tokens, [token(9)]);
        assert!(revocations.voids("x", NOW.saturating_add(4)) && !revocations.voids("x", NOW.saturating_add(5)));
        assert!(revocations.voids("9", NOW.saturating_add(9)) && !revocations.voids("8", NOW.saturating_add(9)));
    }

    #[test]
    fn many_single_tokens_become_one_time() {
        let mut revocations = none();
        for number in 0..1_000 {
            revocations.revoke(token(number), NOW);
            assert!(revocations.tokens.len() <= MAX_REVOKED);
            for before in 0..=number {
                assert!(revocations.voids(&before.to_string(), NOW.saturating_add(before)), "{before} of {number}");
            }
        }
        assert!(!revocations.voids("another", NOW.saturating_add(999)), "the latest take no other with them");
    }

    #[test]
    fn is_kept_for_as_long_as_any_token_lives() {
        let mut revocations = none();
        revocations.cut_off(NOW);
        let end = NOW.saturating_add(u64::from(LONGEST_LIFE) + 3_600);
        revocations.settle(UnixTime::from_secs(end.as_secs() - 1));
        assert!(!revocations.is_empty());
        revocations.settle(end);
        assert!(revocations.is_empty());
    }
}
