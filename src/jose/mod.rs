//! Keys and signatures: JWK, JWK Set, JWS. A leaf that knows nothing of OAuth.

mod jwk;
mod jwt;
mod key;

pub use jwk::{Jwk, JwkSet};
pub use jwt::{JwtError, decode_unverified, sign, verify};
pub use key::{KeyRing, SigningKey};
