//! Nonces for devices without a clock. Giving one out stores nothing: it is a keyed MAC over the client and a coarse time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::oauth::{ClientId, ServerNonce};

/// Seconds of a window. A nonce serves to the end of the window after its own: 30 to 60 seconds.
const WINDOW: u64 = 30;
/// Bytes that make each nonce another one.
const SALT: usize = 8;

/// Gives out nonces and knows its own.
pub(super) struct Nonces(Zeroizing<[u8; 32]>);

impl Nonces {
    /// `key` must be fresh random bytes, never kept: a nonce dies with the process.
    pub(super) fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// A nonce for that client, made another by `entropy`.
    pub(super) fn issue(&self, client_id: &ClientId, now: UnixTime, entropy: &[u8; 16]) -> ServerNonce {
        let window = now.as_secs() / WINDOW;
        let salt: [u8; SALT] = entropy.first_chunk().copied().unwrap_or_default();
        let mut value = [0; 24];
        let tag = self.mac(client_id, window, &salt).map(|mac| mac.finalize().into_bytes()).unwrap_or_default();
        for (byte, from) in value.iter_mut().zip(salt.iter().chain(tag.iter())) {
            *byte = *from;
        }
        ServerNonce { value, expires_in: end_of(window).as_secs().saturating_sub(now.as_secs()) }
    }

    /// When the nonce ends; `None` if it is not that client's, or has ended.
    pub(super) fn end(&self, client_id: &ClientId, nonce: &str, now: UnixTime) -> Option<UnixTime> {
        let value: [u8; 24] = URL_SAFE_NO_PAD.decode(nonce).ok()?.try_into().ok()?;
        let (salt, tag) = value.split_first_chunk::<SALT>()?;
        let current = now.as_secs() / WINDOW;
        [current, current.checked_sub(1)?]
            .into_iter()
            .find(|window| self.mac(client_id, *window, salt).is_some_and(|mac| mac.verify_truncated_left(tag).is_ok()))
            .map(end_of)
    }

    /// Never `None`: HMAC takes a key of any length.
    fn mac(&self, client_id: &ClientId, window: u64, salt: &[u8; SALT]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::new_from_slice(self.0.as_slice()).ok()?;
        mac.update(&window.to_be_bytes());
        mac.update(salt);
        mac.update(client_id.as_str().as_bytes());
        Some(mac)
    }
}

fn end_of(window: u64) -> UnixTime {
    UnixTime::from_secs(window.saturating_add(2).saturating_mul(WINDOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nonce: &ServerNonce) -> String {
        URL_SAFE_NO_PAD.encode(nonce.value)
    }

    #[test]
    fn serves_its_client_for_its_time() {
        let nonces = Nonces::new(Zeroizing::new([1; 32]));
        let (dev1, dev2): (ClientId, ClientId) = ("dev1".parse().unwrap(), "dev2".parse().unwrap());
        for second in 3_000..3_030 {
            let now = UnixTime::from_secs(second);
            let nonce = nonces.issue(&dev1, now, &[7; 16]);
            assert!((31..=60).contains(&nonce.expires_in));
            let last = now.saturating_add(nonce.expires_in.saturating_sub(1));
            let end = now.saturating_add(nonce.expires_in);
            assert_eq!(nonces.end(&dev1, &text(&nonce), now), Some(end));
            assert_eq!(nonces.end(&dev1, &text(&nonce), last), Some(end));
            assert_eq!(nonces.end(&dev1, &text(&nonce), end), None, "stale");
            assert_eq!(nonces.end(&dev2, &text(&nonce), now), None, "another's");
            assert_eq!(Nonces::new(Zeroizing::new([2; 32])).end(&dev1, &text(&nonce), now), None, "of another run");
        }
    }

    #[test]
    fn no_two_are_alike_and_none_can_be_made_up() {
        let nonces = Nonces::new(Zeroizing::new([1; 32]));
        let (dev1, now) = ("dev1".parse().unwrap(), UnixTime::from_secs(3_000));
        assert_ne!(nonces.issue(&dev1, now, &[7; 16]).value, nonces.issue(&dev1, now, &[8; 16]).value);
        for at in 0..24 {
            let mut nonce = nonces.issue(&dev1, now, &[7; 16]);
            nonce.value[at] ^= 1;
            assert_eq!(nonces.end(&dev1, &text(&nonce), now), None, "{at}");
        }
        for nonce in ["", "AAAA", "!", &"A".repeat(32), &"A".repeat(36)] {
            assert_eq!(nonces.end(&dev1, nonce, now), None, "{nonce}");
        }
    }
}
