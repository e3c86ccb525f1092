//! The words of RFC 6749, RFC 7591 and RFC 9200, and their two wire forms, JSON and CBOR.
//!
//! Names nothing else of this crate. Parameter names stand in [`Param`]'s table alone.

mod binding;
mod codes;
mod decode;
mod encode;
mod params;
mod refusal;
mod trace;
mod words;

pub use binding::RequestDigest;
pub use codes::{ErrorCode, GrantType, TokenType};
pub use decode::{
    ASSERTION_TYPE, Ask, ClientCredential, ClientRequest, CredentialAsk, CredentialRequest, EnrolmentProof, IntrospectAsk, KeyAsk,
    MalformedRequest, Params, PresentedToken, RegisterAsk, RegisterRequest, ReqCnf, RevokeAsk, TokenAsk, TokenRequest,
    decode_client_request, decode_nonce_request, decode_register_request,
};
pub use encode::{CredentialResponse, Introspection, RegisterResponse, Response, TokenResponse, TokenText, encode};
pub use params::{Param, Table};
pub use refusal::{Reason, Refusal, ServerNonce};
pub use trace::{Check, Record, RecordKind, Step, Unwitnessed, Witness};
pub(crate) use words::word;
pub use words::{
    ClientId, EnrolmentId, Format, InvalidWord, Operation, ResourceServerId, RoleName, ScopeSet, ScopeToken, Secret, SerialNumber,
};
