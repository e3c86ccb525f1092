//! The control socket: bounded, versioned frames between the operator's commands and the daemon.
//!
//! A frame is its length (four bytes, big-endian) and a JSON document: `{"v":1,"command":{..}}` asks, `{"v":1,"answer":{..}}` or
//! `{"v":1,"error":{..}}` answers. A connection carries one exchange, or those of one [`ApplySession`]. [`Administrator::execute`] is the one implementation of every command,
//! for the socket and for work on the registry of a gateway that does not run.

mod administrator;
mod apply;
mod audit;
mod backup;
mod call;
mod caller;
mod changes;
mod command;
mod conversation;
mod credentials;
mod documents;
mod enrolments;
mod error;
mod explain;
mod frame;
mod lists;
mod metrics;
mod plan;
mod policies;
mod queries;
mod reload;
mod socket;
mod socket_file;
mod status;
mod token_size;
mod tokens;

pub use administrator::Administrator;
pub use apply::{ApplyAnswer, ApplyCommand, ApplyRecord, ApplySession, ClientSpec, MAX_APPLIED};
pub use backup::{BackupAnswer, BackupCommand, BackupPart, BackupPurpose};
pub use call::{CallError, call, exchange};
pub use caller::{Caller, advise_stranger, group_id, group_id_among, group_name, user_name};
pub use changes::{ClientChanges, ClientField, ResourceServerChanges, ResourceServerField, RoleChanges, ScopeChanges};
pub use command::{Answer, Command, IssuedSecret, NewClient, NewResourceServer, NewRole, NewScope};
pub use conversation::Conversation;
pub use documents::{ClientDocument, ClientKeyDocument, KeyDocument, RotationDocument, SecretDocument};
pub use enrolments::{
    DeviceDocument, EnrolmentAnswer, EnrolmentChanges, EnrolmentCommand, EnrolmentDocument, EnrolmentQuery, MAX_SERIALS, NewEnrolment,
    NewTemplate, TemplateChanges,
};
pub use error::{AdminError, AdminErrorCode};
pub use explain::{Explain, Serving};
pub(crate) use frame::reread as reread_frame;
pub use frame::{FrameError, MAX_FRAME, VERSION};
pub use metrics::{ClockMetrics, Metrics, ProcessMetrics, RecentClient, RegistryMetrics, ReplayMetrics};
pub use plan::{ChangeAction, ChangeDocument, MemberChange, PlanCounts, PlanDocument};
pub use queries::{
    ClientCursor, ClientFilter, ClientQuery, ClientSort, ClientSortField, ResourceServerQuery, RoleQuery, ScopeQuery, SortKey,
};
pub use reload::{ConfigurationStatus, Reload, ReloadDocument, ReloadTrigger};
pub use socket::ControlSocket;
pub use socket_file::{Audience, SocketFile};
pub use status::{ClockStatus, DaemonStatus, LinkStatus, ListenerStatus, Rates, SnapshotStatus, WearStatus};
pub use tokens::{ClientTokensDocument, RevokedTokenDocument, TokenReference};
