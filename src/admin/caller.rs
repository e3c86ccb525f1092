//! On whose behalf a command is executed.

/// On whose behalf a command is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user id.
    pub uid: u32,
    /// The process, if the system told.
    pub pid: Option<u32>,
}

impl Caller {
    /// A user, by a process that is not known.
    #[must_use]
    pub const fn of_user(uid: u32) -> Self {
        Self { uid, pid: None }
    }

    /// This process itself.
    #[must_use]
    pub fn this_process() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), pid: Some(std::process::id()) }
    }

    /// The user's name on this host, if it is known.
    #[must_use]
    pub fn user_name(&self) -> Option<String> {
        user_name(self.uid)
    }
}

/// The name of a user, as the file of users has it.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let id = uid.to_string();
    users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields.as_slice() {
        [name, _, found, ..] if *found == id => Some((*name).to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_nobody_knows_the_last_number() {
        assert_eq!((user_name(0).as_deref(), user_name(u32::MAX - 7)), (Some("root"), None));
    }
}
