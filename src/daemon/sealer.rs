//! What sealed answers need of the world: the system's random bytes and ring's A256GCM, which TLS has in the program anyway.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::jose::Sealer;
use crate::jose::seal::NONCE;

/// The daemon's.
pub struct RingSealer;

impl Sealer for RingSealer {
    fn random(&self, bytes: &mut [u8]) -> bool {
        getrandom::fill(bytes).is_ok()
    }

    fn encrypt(&self, key: &[u8; 32], nonce: [u8; NONCE], aad: &[u8], content: &mut Vec<u8>) -> bool {
        // Each key is used once, so no nonce comes twice with it.
        let key = UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new);
        key.is_ok_and(|key| key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), content).is_ok())
    }
}
