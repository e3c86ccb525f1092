//! The one table of parameter names and their CBOR keys: RFC 9200 Tables 5 and 6, RFC 9201 Table 1, and ours below -65536.

use super::Operation;

/// Which keys count: the token endpoint and introspection give some numbers two meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// The token endpoint (RFC 9200 Table 5), and all operations of ours.
    Token,
    /// Introspection (RFC 9200 Table 6), and revocation, whose parameters are the same (RFC 7009 section 2.1).
    Introspection,
}

impl Table {
    /// The table of an operation's parameters.
    #[must_use]
    pub const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Token | Operation::Nonce | Operation::Credential | Operation::Register => Self::Token,
            Operation::Introspect | Operation::Revoke => Self::Introspection,
        }
    }
}

macro_rules! params {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $token:expr, $introspection:expr;)+) => {
        /// A parameter of a request or answer, with its JSON name and its CBOR key in each table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Param { $($(#[$doc])* $variant,)+ }

        impl Param {
            /// Every parameter, in the order of the table.
            pub const ALL: &'static [Param] = &[$(Param::$variant,)+];

            /// The name used in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Param::$variant => $name,)+ }
            }

            /// The key used in CBOR; none for a parameter that CBOR implies or that has no place in the table.
            #[must_use]
            pub const fn key(self, table: Table) -> Option<i64> {
                match table {
                    Table::Token => match self { $(Param::$variant => $token,)+ },
                    Table::Introspection => match self { $(Param::$variant => $introspection,)+ },
                }
            }
        }
    };
}

params! {
    /// RFC 6749 section 5.1.
    AccessToken = "access_token", Some(1), None;
    /// RFC 7662 section 2.2.
    Iss = "iss", None, Some(1);
    /// RFC 6749 section 5.1; seconds.
    ExpiresIn = "expires_in", Some(2), None;
    /// RFC 7662 section 2.2.
    Sub = "sub", None, Some(2);
    /// RFC 7662 section 2.2.
    Aud = "aud", None, Some(3);
    /// RFC 9201 section 3.1.
    ReqCnf = "req_cnf", Some(4), None;
    /// RFC 7662 section 2.2; seconds since the epoch.
    Exp = "exp", None, Some(4);
    /// RFC 9200 section 5.8.1.
    Audience = "audience", Some(5), None;
    /// RFC 7662 section 2.2; seconds since the epoch.
    Nbf = "nbf", None, Some(5);
    /// RFC 7662 section 2.2; seconds since the epoch.
    Iat = "iat", None, Some(6);
    /// RFC 7662 section 2.2; `cti` of RFC 9200 Table 6 in CBOR.
    Jti = "jti", None, Some(7);
    /// RFC 9201 section 3.2.
    Cnf = "cnf", Some(8), Some(8);
    /// RFC 6749 section 3.3.
    Scope = "scope", Some(9), Some(9);
    /// RFC 7662 section 2.2.
    Active = "active", None, Some(10);
    /// RFC 7662 section 2.1.
    Token = "token", None, Some(11);
    /// RFC 6749 section 2.2.
    ClientId = "client_id", Some(24), Some(24);
    /// RFC 6749 section 2.3.1; RFC 9200 Table 6 leaves it out, and its number is free there.
    ClientSecret = "client_secret", Some(25), Some(25);
    /// Echoed, to pair an answer with its request; RFC 9200 Table 6 leaves it out, and its number is free there.
    State = "state", Some(28), Some(28);
    /// RFC 6749 section 5.2.
    Error = "error", Some(30), Some(30);
    /// RFC 6749 section 5.2.
    ErrorDescription = "error_description", Some(31), Some(31);
    /// RFC 6749 section 5.2.
    ErrorUri = "error_uri", Some(32), Some(32);
    /// RFC 6749 section 4.4.2.
    GrantType = "grant_type", Some(33), None;
    /// RFC 7662 section 2.1.
    TokenTypeHint = "token_type_hint", None, Some(33);
    /// RFC 6749 section 7.1.
    TokenType = "token_type", Some(34), Some(34);
    /// RFC 6749 section 1.5; never issued here.
    RefreshToken = "refresh_token", Some(37), None;
    /// RFC 9200 section 5.8.4.3.
    AceProfile = "ace_profile", Some(38), Some(38);
    /// RFC 9200 section 5.3.1; RFC 9200 Table 6 for introspection.
    Cnonce = "cnonce", Some(39), Some(39);
    /// RFC 9201 section 3.2.
    RsCnf = "rs_cnf", Some(41), Some(41);
    /// RFC 7521 section 4.2.
    ClientAssertion = "client_assertion", Some(-65_537), Some(-65_537);
    /// RFC 7521 section 4.2; CBOR implies it.
    ClientAssertionType = "client_assertion_type", None, None;
    /// Seconds to wait before the next try.
    RetryAfter = "retry_after", Some(-65_538), Some(-65_538);
    /// A client's new public key, by the name of RFC 7515 section 4.1.3; a COSE_Key in CBOR.
    Jwk = "jwk", Some(-65_539), None;
    /// RFC 7591 section 3.2.1; seconds since the epoch, 0 for never.
    ClientSecretExpiresAt = "client_secret_expires_at", Some(-65_540), None;
    /// The id of a client's new key, by the name of RFC 7517 section 4.5.
    Kid = "kid", Some(-65_541), None;
    /// Until when the credential before the new one serves at the longest, once the new one was used; seconds since the epoch.
    PreviousExpiresAt = "previous_expires_at", Some(-65_542), None;
    /// The key by which the answer's token is to be sealed for the client alone: a JWK, a COSE_Key in CBOR.
    JweKey = "jwe_key", Some(-65_543), None;
    /// RFC 7591 section 1.2 and appendix A.1.
    InitialAccessToken = "initial_access_token", Some(-65_553), None;
    /// The enrolment by whose token `enrolment_mac` is.
    EnrolmentId = "enrolment_id", Some(-65_554), None;
    /// Shows that a device has an enrolment token without showing the token.
    EnrolmentMac = "enrolment_mac", Some(-65_555), None;
    /// RFC 7591 section 2: a JWK Set; in CBOR one COSE_Key.
    Jwks = "jwks", Some(-65_556), None;
    /// Of the device.
    SerialNumber = "serial_number", Some(-65_557), None;
    /// RFC 7591 section 2.
    ClientName = "client_name", Some(-65_558), None;
    /// RFC 7591 section 2.
    SoftwareId = "software_id", Some(-65_559), None;
    /// RFC 7591 section 2.
    SoftwareVersion = "software_version", Some(-65_560), None;
    /// RFC 7591 section 2.
    TokenEndpointAuthMethod = "token_endpoint_auth_method", Some(-65_561), None;
    /// RFC 7591 section 3.2.1; seconds since the epoch.
    ClientIdIssuedAt = "client_id_issued_at", Some(-65_562), None;
}

impl Param {
    /// The parameter of that JSON name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|param| param.name() == name)
    }

    /// The parameter of that CBOR key.
    #[must_use]
    pub fn from_key(table: Table, key: i64) -> Option<Self> {
        Self::ALL.iter().copied().find(|param| param.key(table) == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_unique() {
        for param in Param::ALL {
            assert_eq!(Param::from_name(param.name()), Some(*param));
            for table in [Table::Token, Table::Introspection] {
                assert!(param.key(table).is_none_or(|key| Param::from_key(table, key) == Some(*param)), "{param:?}");
            }
        }
    }
}
