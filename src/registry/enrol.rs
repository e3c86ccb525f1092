//! Registration by enrolment: the client, what is known of its device and the use that it costs are one change.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::committer::{Batch, Staged};
use super::enrolments::{put_device, put_enrolment};
use super::error::RegistryError;
use super::{Registry, put_client, rules};
use crate::clients::{AuthMethod, Client, ClientKey, ClientSecret, ClientStore as _, Enrolled, Status};
use crate::clock::UnixTime;
use crate::enrolment::{
    AdmittedDevice, DeviceName, DeviceState, EnrolledClient, Enrolment, EnrolmentError, EnrolmentFailure, EnrolmentStatus, EnrolmentStore,
    MAX_DEVICES, PatternError,
};
use crate::oauth::EnrolmentId;

impl EnrolmentStore for Registry {
    fn enrolment(&self, id: &EnrolmentId) -> Option<Arc<Enrolment>> {
        self.memory.book().enrolments.get(id).cloned()
    }

    fn enrol(&self, device: &AdmittedDevice, now: UnixTime) -> Result<EnrolledClient, EnrolmentFailure> {
        // What is on disk already needs no second write.
        if let Some(DeviceState::Enrolled { client_id, .. }) =
            name_of(device).and_then(|name| self.memory.device(device.enrolment(), &name))
            && let Some(client) = self.memory.client(&client_id)
            && is_same(&client, device)
            && client.status == Status::Active
        {
            let client = self.client(&client_id).unwrap_or(client);
            return Ok(EnrolledClient { client, secret: None, again: true });
        }
        self.enrol_new(device, now).map_err(|error| match error {
            RegistryError::NotEnrolled { error, .. } => EnrolmentFailure::Refused(error),
            error => {
                tracing::error!(enrolment = device.enrolment().as_str(), code = error.code(), %error, "a registration could not be kept");
                EnrolmentFailure::NotKept
            }
        })
    }
}

impl Registry {
    fn enrol_new(&self, device: &AdmittedDevice, now: UnixTime) -> Result<EnrolledClient, RegistryError> {
        let mut random = [0; 16];
        let mut entropy = Zeroizing::new([0; 32]);
        getrandom::fill(&mut random)
            .and_then(|()| getrandom::fill(entropy.as_mut_slice()))
            .map_err(|error| RegistryError::NoRandomness { reason: error.to_string() })?;
        let (record, secret) = match device.method() {
            AuthMethod::ClientSecretPost => {
                let (record, secret) = ClientSecret::generate(&entropy, now);
                (Some(record), Some(secret))
            }
            AuthMethod::PrivateKeyJwt => (None, None),
        };
        let (client, again) = self.committer.change(|staged| self.prepare(staged, device, record, &random, now))?;
        Ok(EnrolledClient { client, secret, again })
    }

    fn prepare(
        &self,
        staged: &Staged<'_>,
        device: &AdmittedDevice,
        secret: Option<ClientSecret>,
        random: &[u8; 16],
        now: UnixTime,
    ) -> Result<(Batch, (Arc<Client>, bool)), RegistryError> {
        let refused = |error| RegistryError::NotEnrolled { enrolment: device.enrolment().to_string(), error };
        let (book, name) = (staged.book(), name_of(device));
        let enrolment = book.enrolments.get(device.enrolment()).ok_or_else(|| refused(EnrolmentError::Unknown))?;
        let template = book.templates.get(&enrolment.template).ok_or_else(|| refused(EnrolmentError::Unknown))?;
        let status = enrolment.status_at(now);
        match status {
            EnrolmentStatus::Revoked => return Err(refused(EnrolmentError::Revoked)),
            EnrolmentStatus::Expired => return Err(refused(EnrolmentError::Expired)),
            EnrolmentStatus::UsedUp | EnrolmentStatus::Open => {}
        }
        let known = name.as_ref().and_then(|name| staged.device(&enrolment.id, name));
        if let Some(DeviceState::Enrolled { client_id, .. }) = &known {
            let client = staged.client(client_id).filter(|client| is_same(client, device));
            let client = client.ok_or_else(|| refused(EnrolmentError::DeviceEnrolled))?;
            return match client.status {
                // Registered by a request that is still on its way to the disk: with it, so is this one.
                Status::Active => Ok((Batch::default(), (client, true))),
                Status::Suspended => Err(refused(EnrolmentError::ClientSuspended)),
                Status::Blocked => Err(refused(EnrolmentError::ClientBlocked)),
            };
        }
        if enrolment.is_limited && !matches!((&known, &name), (Some(DeviceState::Awaited), Some(DeviceName::Serial(_)))) {
            return Err(refused(EnrolmentError::SerialNotAllowed));
        }
        if status == EnrolmentStatus::UsedUp {
            return Err(refused(EnrolmentError::UsedUp));
        }
        if !template.methods.contains(&device.method()) {
            return Err(refused(EnrolmentError::MethodNotAllowed(device.method())));
        }
        let serial = device.ask().serial_number.as_ref();
        let client_id = template.client_id.fill(serial, random).map_err(|error| {
            refused(match error {
                PatternError::NoSerial => EnrolmentError::NoSerial,
                PatternError::TooLong => EnrolmentError::SerialTooLong,
            })
        })?;
        if staged.client(&client_id).is_some() {
            return Err(refused(EnrolmentError::ClientIdTaken));
        }
        if known.is_none() && name.is_some() && staged.devices(&enrolment.id).len() >= MAX_DEVICES {
            return Err(refused(EnrolmentError::UsedUp));
        }
        let enrolled_by = Enrolled { enrolment: enrolment.id.clone(), serial_number: serial.cloned() };
        let client = Arc::new(Client {
            client_name: device.ask().client_name.clone(),
            software_id: device.ask().software_id.clone(),
            software_version: device.ask().software_version.clone(),
            token_endpoint_auth_method: device.method(),
            secrets: secret.into_iter().collect(),
            jwks: device.key().map(|jwk| ClientKey::new(jwk.clone(), now)).into_iter().collect(),
            require_request_binding: template.require_request_binding && device.key().is_some(),
            ..template.client(client_id, Some(enrolled_by), now)
        });
        rules::check_rule(self.rule.get(), &*client, &client, &staged.policy())?;
        let (mut batch, client) = put_client(client, staged)?;
        if let Some(name) = name {
            let state = DeviceState::Enrolled { client_id: client.client_id.clone(), at: now };
            put_device(&mut batch, &enrolment.id, name, Some(state))?;
        }
        let used = enrolment.used.saturating_add(1);
        let (batch, _) = put_enrolment(staged, Enrolment { used, ..Enrolment::clone(enrolment) }, batch)?;
        Ok((batch, (client, false)))
    }
}

/// What the enrolment will know the device by. A device with a secret and without a serial number leaves nothing to know it by.
fn name_of(device: &AdmittedDevice) -> Option<DeviceName> {
    let serial = device.ask().serial_number.clone().map(DeviceName::Serial);
    serial.or_else(|| device.key().map(|key| DeviceName::Key(key.thumbprint().into())))
}

/// Whether the client is this very device: registered by the same enrolment, and still with the key that the device has now.
fn is_same(client: &Client, device: &AdmittedDevice) -> bool {
    let by = client.enrolled_by.as_ref().is_some_and(|by| by.enrolment == *device.enrolment());
    let thumbprint = device.key().map(crate::jose::Jwk::thumbprint);
    by && thumbprint.is_some_and(|thumbprint| client.jwks.iter().any(|key| key.jwk.thumbprint() == thumbprint))
}
