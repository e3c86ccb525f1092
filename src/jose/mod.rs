//! Keys, their life, and signatures: JWK, JWK Set, JWS. Knows nothing of OAuth.

mod algorithm;
pub mod cose;
mod jwk;
mod jws;
mod jwt;
mod key;
mod offered;
mod rotation;
pub mod seal;

pub use algorithm::{Algorithm, KeyType};
pub use jwk::{Jwk, JwkSet};
pub use jws::CompactJws;
pub use jwt::{JwtError, decode_unverified, sign, sign_as, verify, verify_signed};
pub use key::{KeyRing, SigningKey};
pub use offered::{MAX_KID, OfferedKeyError};
pub use rotation::{Due, KeyState, KeyStatus, MAX_KEYS, Moment, Rotation, RotationRules};
pub use seal::{EncryptionKey, Sealer};
