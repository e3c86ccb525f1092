//! Commands on the credentials of one client.

use std::time::SystemTime;

use super::administrator::{check_keys, invalid};
use super::{AdminError, Administrator, Answer, Caller, ClientDocument, Command};
use crate::clients::{Client, CredentialWish, RotationRule};
use crate::clock::UnixTime;
use crate::token::RevocationStore as _;

impl Administrator {
    /// The same with another rule for rotations whose command says nothing else.
    #[must_use]
    pub fn rotating_by(mut self, rule: RotationRule) -> Self {
        self.rotation = rule;
        self
    }

    /// Executes the commands that rotate credentials.
    pub(super) fn rotate(&self, caller: Caller, command: Command) -> Result<Answer, AdminError> {
        let now = UnixTime::from(SystemTime::now());
        match command {
            Command::ClientRotate { client_id, jwk, overlap, retire } => self.change("client rotate", client_id.as_str(), caller, || {
                check_keys(jwk.as_slice())?;
                let wish = jwk.map_or(CredentialWish::Secret, CredentialWish::Key);
                let rule =
                    RotationRule { overlap: overlap.unwrap_or(self.rotation.overlap), retire: retire.unwrap_or(self.rotation.retire) };
                let rotated = self.registry.rotate_credential(&client_id, None, wish, rule, now)?;
                Ok(Answer::ClientRotated {
                    client: Box::new(self.document(&rotated.client)),
                    client_secret: rotated.secret.map(Into::into),
                })
            }),
            Command::ClientRotateCancel { client_id } => self.change("client rotate --cancel", client_id.as_str(), caller, || {
                Ok(Answer::Client(Box::new(self.document(&*self.registry.cancel_rotation(&client_id, now)?))))
            }),
            Command::ClientRotateFinish { client_id } => self.change("client rotate --finish", client_id.as_str(), caller, || {
                Ok(Answer::Client(Box::new(self.document(&*self.registry.finish_rotation(&client_id, now)?))))
            }),
            _ => Err(invalid("no command that rotates credentials")),
        }
    }

    /// What is told of a client now: with its last uses and its revoked tokens, and without what a rotation has ended.
    pub(super) fn document(&self, client: &Client) -> ClientDocument {
        let (mut client, now) = (client.clone(), UnixTime::from(SystemTime::now()));
        client.settle(now);
        let last_use = self.registry.last_use(&client.client_id);
        let tokens_revoked_before = self.registry.revocations(&client.client_id).and_then(|found| found.issued_before);
        let document = ClientDocument::new(&client, now, last_use, |credential| self.registry.last_used(&client.client_id, credential));
        ClientDocument { tokens_revoked_before, ..document }
    }
}
