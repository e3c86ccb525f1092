//! Closed sets of the protocol, each value with its JSON word and its CBOR number.

macro_rules! codes {
    ($(#[$outer:meta])* $enum:ident { $($(#[$doc:meta])* $variant:ident = $name:literal, $number:literal;)+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $enum { $($(#[$doc])* $variant,)+ }

        impl $enum {
            /// Every value.
            pub const ALL: &'static [$enum] = &[$($enum::$variant,)+];

            /// The word used in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($enum::$variant => $name,)+ }
            }

            /// The number used in CBOR.
            #[must_use]
            pub const fn number(self) -> i64 {
                match self { $($enum::$variant => $number,)+ }
            }

            /// The value of that JSON word.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }

            /// The value of that CBOR number.
            #[must_use]
            pub fn from_number(number: i64) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.number() == number)
            }
        }
    };
}

codes! {
    /// An error code (RFC 6749 section 5.2, RFC 9200 Table 3). Numbers below -65536 are private use.
    ErrorCode {
        /// The request is malformed, lacks a parameter or repeats one.
        InvalidRequest = "invalid_request", 1;
        /// Client authentication failed.
        InvalidClient = "invalid_client", 2;
        /// The grant is invalid.
        InvalidGrant = "invalid_grant", 3;
        /// The client may not use this grant type.
        UnauthorizedClient = "unauthorized_client", 4;
        /// The grant type is not supported.
        UnsupportedGrantType = "unsupported_grant_type", 5;
        /// The scope is malformed, unknown or not granted.
        InvalidScope = "invalid_scope", 6;
        /// The proof-of-possession key cannot be used.
        UnsupportedPopKey = "unsupported_pop_key", 7;
        /// The client and the resource server share no ACE profile.
        IncompatibleAceProfiles = "incompatible_ace_profiles", 8;
        /// The gateway cannot answer now; MQTT has no status line to say so.
        TemporarilyUnavailable = "temporarily_unavailable", -65_537;
        /// The gateway failed; MQTT has no status line to say so.
        ServerError = "server_error", -65_538;
        /// The audience is unknown, not allowed or cannot be told (RFC 8707 section 2).
        InvalidTarget = "invalid_target", -65_539;
        /// Tokens of the type that was named are not revoked here (RFC 7009 section 2.2.1).
        UnsupportedTokenType = "unsupported_token_type", -65_540;
        /// The assertion must carry a nonce of the gateway, which comes with the answer; modelled on RFC 9449 section 8.
        UseNonce = "use_nonce", -65_541;
        /// The token that was shown does not serve (RFC 6750 section 3.1).
        InvalidToken = "invalid_token", -65_543;
        /// What a client is to be registered with cannot be (RFC 7591 section 3.2.2).
        InvalidClientMetadata = "invalid_client_metadata", -65_544;
    }
}

codes! {
    /// A grant type (RFC 6749; numbers of RFC 9200 Table 1).
    GrantType {
        /// RFC 6749 section 4.3.
        Password = "password", 0;
        /// RFC 6749 section 4.1.
        AuthorizationCode = "authorization_code", 1;
        /// RFC 6749 section 4.4; the one that is served.
        ClientCredentials = "client_credentials", 2;
        /// RFC 6749 section 6.
        RefreshToken = "refresh_token", 3;
    }
}

codes! {
    /// A token type (numbers of RFC 9200 Table 4).
    TokenType {
        /// RFC 6750.
        Bearer = "Bearer", 1;
        /// Proof of possession, RFC 9200 section 3.
        Pop = "PoP", 2;
    }
}
