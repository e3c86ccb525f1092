//! The registry: clients, resource servers, scopes and keys on disk. The only module that names sled.
