//! On whose behalf a command is executed, and who may have that.

/// The file of users.
const USERS: &str = "/etc/passwd";
/// The file of groups.
const GROUPS: &str = "/etc/group";

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
    name_in(USERS, uid)
}

/// The id of a group: by its name in the file of groups, or a number as it is.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    group_id_among(&std::fs::read_to_string(GROUPS).unwrap_or_default(), name)
}

/// The same in the text of a file of groups.
#[must_use]
pub fn group_id_among(groups: &str, name: &str) -> Option<u32> {
    if name.chars().all(|character| character.is_ascii_digit()) {
        return name.parse().ok();
    }
    groups.lines().find_map(|line| {
        let (found, rest) = line.split_once(':')?;
        (found == name).then(|| rest.split(':').nth(1)?.parse().ok()).flatten()
    })
}

/// The name of a group, as the file of groups has it.
#[must_use]
pub fn group_name(gid: u32) -> Option<String> {
    name_in(GROUPS, gid)
}

/// The name that goes with an id in a file whose lines have both in the same places.
fn name_in(file: &str, id: u32) -> Option<String> {
    let (text, id) = (std::fs::read_to_string(file).unwrap_or_default(), id.to_string());
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

/// What a user is told to do who may not administer the gateway, whose socket is open to that group.
#[must_use]
pub fn advise_stranger(user: Option<&str>, group: Option<u32>) -> String {
    let (user, Some(gid)) = (user.unwrap_or("USER"), group.filter(|gid| *gid != 0)) else {
        return "run the command as root or as the gateway's own user, for example with sudo".to_owned();
    };
    match group_name(gid) {
        Some(group) => format!(
            "run the command with sudo; or let {user} administer the gateway by the group {group} (sudo usermod -aG {group} {user}) and log in anew"
        ),
        None => format!("run the command with sudo, or with the group {gid}, whose members may administer the gateway"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_nobody_knows_the_last_number() {
        assert_eq!((user_name(0).as_deref(), user_name(u32::MAX - 7)), (Some("root"), None));
    }

    #[test]
    fn groups_are_found_by_name_and_number() {
        let groups = "root:x:0:\ncredgate:x:987:joe,ann\nbroken\nodd:x:nine:\n";
        let found = ["credgate", "root", "984", "cred", "broken", "odd", "", "99999999999"].map(|name| group_id_among(groups, name));
        assert_eq!(found, [Some(987), Some(0), Some(984), None, None, None, None, None]);
        assert_eq!((group_id("root"), group_name(0).as_deref(), group_name(u32::MAX - 7)), (Some(0), Some("root"), None));
    }

    #[test]
    fn a_stranger_is_told_of_the_group() {
        assert!(advise_stranger(Some("joe"), None).contains("sudo") && advise_stranger(None, Some(0)).contains("own user"));
        assert!(advise_stranger(Some("joe"), Some(u32::MAX - 7)).contains("4294967288"));
        // The last group of a Debian, which every host has.
        assert!(advise_stranger(Some("joe"), Some(65_534)).contains("usermod -aG nogroup joe"));
    }
}
