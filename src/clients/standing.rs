//! What a client must be and have to be served, whatever it proves that by: the same for a request and for its rehearsal.

use std::sync::Arc;

use super::{AuthMethod, Channel, Client, ClientStore, CredentialRef, Status};
use crate::clock::UnixTime;
use crate::oauth::{Check, ClientId, ErrorCode, Reason, Record, RecordKind, Refusal, Step, Witness};

/// Whether the way a request comes by takes the method. The same for every client, so the text may help the operator.
pub(super) fn check_link<W: Witness>(method: AuthMethod, channel: Channel, has_assertions: bool, witness: &mut W) -> Result<(), Refusal> {
    let (reason, text) = match (method, channel) {
        (AuthMethod::ClientSecretPost, Channel::Untrusted) => {
            (Reason::UntrustedBroker, "client_secret_post is not accepted through this broker")
        }
        (AuthMethod::PrivateKeyJwt, _) if !has_assertions => {
            (Reason::UnsupportedAuthMethod, "the client authentication method is not supported")
        }
        _ => {
            witness.note(|| Step::passed(Check::Link, link_records(method, channel), format!("takes {}", method.as_str())));
            return Ok(());
        }
    };
    witness.note(|| Step::refused(Check::Link, reason, link_records(method, channel), format!("does not take {}", method.as_str())));
    Err(Refusal::new(ErrorCode::InvalidClient, reason, text))
}

/// Trust counts for secrets alone.
fn link_records(method: AuthMethod, channel: Channel) -> Vec<Record> {
    match (method, channel) {
        (AuthMethod::ClientSecretPost, Channel::Untrusted) => vec![Record::setting("broker.trusted")],
        _ => Vec::new(),
    }
}

/// The client and the credential that `shown` is, if it is one that this client may use now. `shown` is `None` if what was shown is none of its.
pub(super) fn check_credential<'c, W: Witness>(
    id: &ClientId,
    client: Option<&'c Arc<Client>>,
    method: AuthMethod,
    shown: Option<CredentialRef<'c>>,
    now: UnixTime,
    witness: &mut W,
) -> Result<(&'c Arc<Client>, CredentialRef<'c>), Reason> {
    let whole = || vec![Record::new(RecordKind::Client, id.to_string())];
    let Some(client) = client else {
        witness.note(|| Step::refused(Check::Client, Reason::UnknownClient, whole(), "there is no such client"));
        return Err(Reason::UnknownClient);
    };
    witness.note(|| Step::passed(Check::Client, whole(), "is registered"));

    let registered = client.token_endpoint_auth_method;
    let found = || vec![Record::client(id, "token_endpoint_auth_method")];
    if registered != method {
        let finding = || format!("is registered for {}, not for {}", registered.as_str(), method.as_str());
        witness.note(|| Step::refused(Check::AuthMethod, Reason::WrongAuthMethod, found(), finding()));
        return Err(Reason::WrongAuthMethod);
    }
    witness.note(|| Step::passed(Check::AuthMethod, found(), format!("is {}", method.as_str())));

    let (member, unknown, not_now) = match method {
        AuthMethod::ClientSecretPost => ("secrets", Reason::WrongSecret, Reason::SecretNotValidNow),
        AuthMethod::PrivateKeyJwt => ("jwks", Reason::WrongSignature, Reason::KeyNotValidNow),
    };
    let Some(shown) = shown else {
        witness.note(|| Step::refused(Check::Credential, unknown, vec![Record::client(id, member)], "has none that could serve"));
        return Err(unknown);
    };
    if !client.is_live(shown, now) {
        let records =
            || std::iter::once(member).chain(client.rotation.as_ref().map(|_| "rotation")).map(|member| Record::client(id, member));
        let finding = || format!("none serves at {now}; the last is {}", told(shown));
        witness.note(|| Step::refused(Check::Credential, not_now, records().collect(), finding()));
        return Err(not_now);
    }
    witness.note(|| Step::passed(Check::Credential, vec![Record::client(id, member)], format!("has one that serves: {}", told(shown))));
    Ok((client, shown))
}

/// A credential in words, which show nothing of a secret.
fn told(credential: CredentialRef<'_>) -> String {
    let (name, created_at, not_before, expires_at) = match credential {
        CredentialRef::Secret(secret) => ("a secret".to_owned(), secret.created_at, secret.not_before, secret.expires_at),
        CredentialRef::Key(key) => (format!("the key {}", key.jwk.kid()), key.created_at, key.not_before, key.expires_at),
    };
    let limit = |word: &str, time: Option<UnixTime>| time.map(|time| format!(", {word} {time}")).unwrap_or_default();
    format!("{name} made at {created_at}{}{}", limit("valid from", not_before), limit("expired or to expire at", expires_at))
}

/// Whether the client is served at that time.
pub(super) fn check_standing<W: Witness>(client: &Client, now: UnixTime, witness: &mut W) -> Result<(), Reason> {
    let id = &client.client_id;
    let status = || vec![Record::client(id, "status")];
    let reason = match client.status {
        Status::Active => None,
        Status::Suspended => Some(Reason::SuspendedClient),
        Status::Blocked => Some(Reason::BlockedClient),
    };
    if let Some(reason) = reason {
        witness.note(|| Step::refused(Check::Status, reason, status(), format!("is {}", client.status.as_str())));
        return Err(reason);
    }
    witness.note(|| Step::passed(Check::Status, status(), "is active"));

    let limits = || {
        let limits = [("not_before", client.not_before), ("expires_at", client.expires_at)];
        let limits = limits.into_iter().filter_map(|(member, limit)| limit.map(|limit| (member, limit)));
        let told: Vec<String> = limits.clone().map(|(member, limit)| format!("{member} is {limit}")).collect();
        (limits.map(|(member, _)| Record::client(id, member)).collect::<Vec<_>>(), told.join(", "))
    };
    if !client.is_valid_at(now) {
        witness.note(|| {
            let (records, told) = limits();
            Step::refused(Check::Validity, Reason::ClientNotValidNow, records, format!("{told}, and it is {now}"))
        });
        return Err(Reason::ClientNotValidNow);
    }
    witness.note(|| match limits() {
        (records, _) if records.is_empty() => Step::passed(Check::Validity, vec![Record::client(id, "expires_at")], "has no limit"),
        (records, told) => Step::passed(Check::Validity, records, told),
    });
    Ok(())
}

/// What [`authenticate`](super::authenticate) would come to if the client showed the best credential of that method that it has. Nothing is used up,
/// and nothing is proved: the client that is returned is no [`AuthenticatedClient`](super::AuthenticatedClient).
///
/// # Errors
/// As there, but for what only a real credential can be refused for.
pub fn rehearse<W: Witness>(
    id: &ClientId,
    method: AuthMethod,
    channel: Channel,
    store: &dyn ClientStore,
    has_assertions: bool,
    now: UnixTime,
    witness: &mut W,
) -> Result<Arc<Client>, Refusal> {
    check_link(method, channel, has_assertions, witness)?;
    let found = store.client(id);
    let of_method = |credential: &CredentialRef<'_>| match credential {
        CredentialRef::Secret(_) => method == AuthMethod::ClientSecretPost,
        CredentialRef::Key(_) => method == AuthMethod::PrivateKeyJwt,
    };
    // The newest that is live, or the newest.
    let best = found.as_deref().and_then(|client| {
        let (mut own, mut live) = (client.credentials().filter(of_method), client.credentials().filter(of_method));
        let live = live.by_ref().filter(|credential| client.is_live(*credential, now)).last();
        live.or_else(|| own.by_ref().last())
    });
    let judged = check_credential(id, found.as_ref(), method, best, now, witness).and_then(|(client, _)| {
        check_standing(client, now, witness)?;
        Ok(client.clone())
    });
    let client = judged.map_err(Refusal::invalid_client)?;
    if method == AuthMethod::PrivateKeyJwt {
        let finding = if client.require_request_binding { "the assertion must be bound to the request by rqh" } else { "is not required" };
        witness.note(|| Step::passed(Check::RequestBinding, vec![Record::client(id, "require_request_binding")], finding));
    }
    Ok(client)
}
