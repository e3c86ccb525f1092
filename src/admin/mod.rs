//! The control socket: bounded, versioned frames between the operator's commands and the daemon.
