//! TLS: certificates from files, a CA made on the spot, rustls configurations.
