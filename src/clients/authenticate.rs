//! Client authentication (protocol section 3). Every failure costs the same work and reads the same to the device.

use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};

use super::assertion::Fault;
use super::standing::{check_credential, check_link, check_standing};
use super::{Assertions, AuthMethod, Client, ClientStore, CredentialId, CredentialRef, MAX_SECRETS, SecretDigest};
use crate::clock::UnixTime;
use crate::jose::Jwk;
use crate::oauth::{Ask, ClientCredential, ClientId, ClientRequest, Reason, Refusal, Secret, Unwitnessed};

/// What a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The embedded broker, or a broker configured as trusted: secrets may cross it.
    Trusted,
    /// Any other broker: it could keep the secrets it carries.
    Untrusted,
}

/// A request whose client is who it says it is. Only [`authenticate`] makes one.
#[must_use]
#[derive(Debug)]
pub struct AuthenticatedClient<A> {
    client: Arc<Client>,
    credential: CredentialId,
    key: Option<Jwk>,
    request: ClientRequest<A>,
}

impl<A> AuthenticatedClient<A> {
    /// The client, as it was registered at that moment.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Which of its credentials it proved that by.
    #[must_use]
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// The client's key that signed the assertion; `None` if it came with a secret.
    #[must_use]
    pub fn key(&self) -> Option<&Jwk> {
        self.key.as_ref()
    }

    /// What it asks for.
    #[must_use]
    pub fn ask(&self) -> &A {
        self.request.ask()
    }
}

/// Authenticates the client that the request's topic names.
///
/// `assertions` is `None` where none are accepted; `entropy` must be fresh random bytes, for a nonce.
///
/// # Errors
/// `invalid_request` if the payload names another client; `use_nonce` or `temporarily_unavailable` for an assertion that is the client's own;
/// `invalid_client` for everything else, with one text.
pub fn authenticate<A: Ask>(
    request: ClientRequest<A>,
    topic_client_id: &ClientId,
    channel: Channel,
    store: &dyn ClientStore,
    assertions: Option<&Assertions>,
    now: UnixTime,
    entropy: &[u8; 16],
) -> Result<AuthenticatedClient<A>, Refusal> {
    if request.client_id().is_some_and(|id| id != topic_client_id) {
        return Err(Refusal::invalid_request(Reason::ClientIdMismatch, "client_id: must be the client id of the topic"));
    }
    let method = match request.credential() {
        ClientCredential::Secret(_) => AuthMethod::ClientSecretPost,
        ClientCredential::Assertion(..) => AuthMethod::PrivateKeyJwt,
    };
    check_link(method, channel, assertions.is_some(), &mut Unwitnessed)?;
    let (client, credential, key) = match (request.credential(), assertions) {
        (ClientCredential::Secret(secret), _) => {
            let (client, credential) = by_secret(topic_client_id, secret, store, now)?;
            (client, credential, None)
        }
        (ClientCredential::Assertion(assertion, digest), Some(assertions)) => {
            let judged = assertions.authenticate(topic_client_id, assertion, Some((digest, request.ask().must_be_bound())), store, now);
            let (client, key) = judged.map_err(|fault| match fault {
                Fault::Refused(refusal) => refusal,
                Fault::UseNonce(reason) => Refusal::use_nonce(reason, assertions.nonce(topic_client_id, now, entropy)),
            })?;
            (client, CredentialRef::Key(&key).id(), Some(key.jwk))
        }
        // The link would not have taken it.
        (ClientCredential::Assertion(..), None) => return Err(Refusal::invalid_client(Reason::UnsupportedAuthMethod)),
    };
    Ok(AuthenticatedClient { client, credential, key, request })
}

/// Authenticates a client by its secret alone, as at CONNECT on the embedded broker (protocol section 7).
///
/// # Errors
/// `invalid_client`, with the same text and the same work for every reason.
pub fn authenticate_session(id: &ClientId, secret: &Secret, store: &dyn ClientStore, now: UnixTime) -> Result<Arc<Client>, Refusal> {
    by_secret(id, secret, store, now).map(|(client, _)| client)
}

fn by_secret(id: &ClientId, secret: &Secret, store: &dyn ClientStore, now: UnixTime) -> Result<(Arc<Client>, CredentialId), Refusal> {
    let client = store.client(id);
    let presented = SecretDigest::of(secret);
    // Whatever is missing is compared all the same: each request costs one digest and MAX_SECRETS comparisons.
    let secrets = client.as_deref().map(|client| client.secrets.as_slice()).unwrap_or_default();
    let mut shown = None;
    for slot in 0..MAX_SECRETS {
        let kept = secrets.get(slot);
        let equal = kept.map_or(&SecretDigest::ABSENT, |secret| &secret.digest).ct_eq(&presented) & Choice::from(u8::from(kept.is_some()));
        let kept = kept.map(CredentialRef::Secret).filter(|_| bool::from(equal));
        // Which of its own secrets a client used is nothing to hide from it. One that is live comes before one that is not.
        let is_live = |secret: &CredentialRef<'_>| client.as_deref().is_some_and(|client| client.is_live(*secret, now));
        shown = kept.filter(|kept| shown.is_none() || is_live(kept)).or(shown);
    }
    let judged = check_credential(id, client.as_ref(), AuthMethod::ClientSecretPost, shown, now, &mut Unwitnessed);
    let (client, used) = judged.map_err(Refusal::invalid_client)?;
    check_standing(client, now, &mut Unwitnessed).map_err(Refusal::invalid_client)?;
    store.used(client, used, now);
    Ok((client.clone(), used.id()))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::{ClientSecret, Status};
    use super::*;

    struct One(Arc<Client>);

    impl ClientStore for One {
        fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
            (*id == self.0.client_id).then(|| self.0.clone())
        }
    }

    const NOW: UnixTime = UnixTime::from_secs(1_000);

    fn store(change: impl FnOnce(&mut Client)) -> (One, Secret) {
        let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
        let mut client = Client { secrets: vec![record], ..Client::new("dev1".parse().unwrap(), NOW) };
        change(&mut client);
        (One(Arc::new(client)), secret)
    }

    fn outcome(id: &str, secret: &Secret, store: &One) -> Result<(), (Reason, String)> {
        authenticate_session(&id.parse().unwrap(), secret, store, NOW)
            .map(|_| ())
            .map_err(|refusal| (refusal.reason(), format!("{:?} {}", refusal.code(), refusal.description())))
    }

    #[test]
    fn accepts_the_secret_of_an_active_client() {
        let (store, secret) = store(|_| ());
        assert_eq!(secret.expose().len(), 43);
        assert_eq!(outcome("dev1", &secret, &store), Ok(()));
    }

    #[test]
    fn deny_with_one_text() {
        let wrong = || Secret::new(b"wrong".to_vec());
        let (active, secret) = store(|_| ());
        let (blocked, _) = store(|client| client.status = Status::Blocked);
        let (suspended, _) = store(|client| client.status = Status::Suspended);
        let (expired, _) = store(|client| client.secrets[0].expires_at = Some(NOW));
        let (early, _) = store(|client| client.secrets[0].not_before = Some(NOW.saturating_add(1)));
        let (bare, _) = store(|client| client.secrets.clear());
        let (not_yet, _) = store(|client| client.not_before = Some(NOW.saturating_add(1)));
        let (no_more, _) = store(|client| client.expires_at = Some(NOW));
        let refusals = [
            (outcome("other", &secret, &active), Reason::UnknownClient),
            (outcome("dev1", &wrong(), &active), Reason::WrongSecret),
            (outcome("dev1", &Secret::new(Vec::new()), &bare), Reason::WrongSecret),
            (outcome("dev1", &secret, &blocked), Reason::BlockedClient),
            (outcome("dev1", &secret, &suspended), Reason::SuspendedClient),
            (outcome("dev1", &secret, &expired), Reason::SecretNotValidNow),
            (outcome("dev1", &secret, &early), Reason::SecretNotValidNow),
            (outcome("dev1", &secret, &not_yet), Reason::ClientNotValidNow),
            (outcome("dev1", &secret, &no_more), Reason::ClientNotValidNow),
            // A stranger who does not know the secret does not learn the status either, and neither does the log.
            (outcome("dev1", &wrong(), &blocked), Reason::WrongSecret),
        ];
        for (outcome, expected) in refusals {
            let (reason, told) = outcome.unwrap_err();
            assert_eq!(reason, expected);
            assert_eq!(told, "InvalidClient client authentication failed");
        }
    }

    #[test]
    fn serves_a_client_in_its_time() {
        let (store, secret) = store(|client| (client.not_before, client.expires_at) = (Some(NOW), Some(NOW.saturating_add(1))));
        assert_eq!(outcome("dev1", &secret, &store), Ok(()));
    }

    #[test]
    fn deny_with_the_same_work() {
        use super::super::secret::work::{self, Work};
        let (active, secret) = store(|_| ());
        let (blocked, _) = store(|client| client.status = Status::Blocked);
        let (bare, _) = store(|client| client.secrets.clear());
        let wrong = Secret::new(b"wrong".to_vec());
        let expected = Work { digests: 1, comparisons: 2, verifications: 0 };
        for (id, secret, store) in [
            ("dev1", &secret, &active),
            ("dev1", &wrong, &active),
            ("other", &wrong, &active),
            ("dev1", &wrong, &blocked),
            ("dev1", &wrong, &bare),
        ] {
            assert_eq!(work::of(|| drop(outcome(id, secret, store))), expected, "{id}");
        }
    }

    #[test]
    fn either_of_two_secrets_serves() {
        let (second, other) = ClientSecret::generate(&Zeroizing::new([8; 32]), NOW);
        let (store, secret) = store(|client| client.secrets.push(second));
        assert_eq!(outcome("dev1", &secret, &store), Ok(()));
        assert_eq!(outcome("dev1", &other, &store), Ok(()));
    }
}
