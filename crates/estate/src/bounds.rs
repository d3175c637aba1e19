//! Every bound of the estate, in one place, with assertions that relate them.
//!
//! The estate depends on nothing in the workspace, so its bounds stand here and not in the core's file.

use std::time::Duration;

/// Test users, `user0000` upwards.
pub const USERS: u32 = 1000;
/// Parcels known at first start.
pub const PARCELS_SEEDED: u32 = 2000;
/// Accounts of the large test data.
pub const LARGE_ACCOUNTS: u32 = 1_000_000;
/// Parcels of the large test data; each has three scans.
pub const LARGE_PARCELS: u32 = 2_500_000;
/// Rows that are written by one statement.
pub const LARGE_ROWS_AT_ONCE: usize = 10_000;
/// Documents of each user, approvals of each user, at first start.
pub const PER_USER_SEEDED: u32 = 3;

/// Bytes of a request body, but for a document deposit.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one document.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all documents of one user.
pub const DOCUMENTS_BYTES_PER_USER_MAX: i64 = 64 * 1024 * 1024;
/// Documents of one user.
pub const DOCUMENTS_PER_USER_MAX: i64 = 2000;
/// Living versions of one document; the oldest is shredded when a new one comes.
pub const VERSIONS_PER_DOCUMENT_MAX: i64 = 32;
/// Folders of one user.
pub const FOLDERS_PER_USER_MAX: i64 = 500;
/// Bytes of the path of a document in a vault.
pub const VAULT_PATH_BYTES_MAX: usize = 1024;
/// Bytes of one name in a vault.
pub const VAULT_NAME_BYTES_MAX: usize = 255;
/// Dead WebDAV properties of one document or folder.
pub const PROPERTIES_PER_PLACE_MAX: i64 = 64;
/// Bytes of one dead WebDAV property.
pub const PROPERTY_BYTES_MAX: usize = 4096;
/// WebDAV locks of one user.
pub const LOCKS_PER_USER_MAX: usize = 256;
/// Longest life of a WebDAV lock.
pub const LOCK_LIFE_MAX: Duration = Duration::from_secs(3600);
/// Links that share one document and have not ended.
pub const LINKS_PER_DOCUMENT_MAX: i64 = 16;
/// Life of a link, seconds.
pub const LINK_LIFE_S_MAX: i64 = 90 * 24 * 3600;
/// Uses of a link.
pub const LINK_USES_MAX: i64 = 1000;
/// Application passwords of one user.
pub const APP_PASSWORDS_PER_USER_MAX: i64 = 16;
/// Entries of one user's trail; beyond, nothing more is read or written in that vault, since nothing goes untraced.
pub const TRAIL_ENTRIES_PER_USER_MAX: i64 = 1_000_000;
/// Entries of a trail given out at once.
pub const TRAIL_PAGE_MAX: i64 = 200;
/// How long the owner's readings of one version are one entry.
pub const TRAIL_SAME_READ_MS: i64 = 60_000;
/// Bytes of the name of somebody who begins to sign in by a passkey.
pub const USER_NAME_BYTES_MAX: usize = 64;
/// Bytes of a file of keys or passwords.
pub const KEY_FILE_BYTES_MAX: u64 = 1024;
/// Exports of vaults under way at once in one service: each is in memory, twice.
pub const EXPORTS_AT_ONCE_MAX: usize = 2;
/// How long the bytes of a body may take to arrive while a worker waits for them.
pub const BODY_READ_MAX: Duration = Duration::from_secs(30);
/// How long a handler may take, its body being there.
pub const HANDLER_MAX: Duration = Duration::from_secs(30);
/// How long a connection may be without a whole request head: also how long it may idle. Above the 60 s for which
/// proxies keep idle connections, so that it is the proxy that closes.
pub const HEAD_READ_MAX: Duration = Duration::from_secs(75);
/// How long a stop waits for requests under way.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Connections of one service; further ones wait in the kernel's backlog.
pub const CONNECTIONS_PER_SERVICE_MAX: usize = 4096;
/// Concurrent streams of one HTTP/2 connection.
pub const H2_STREAMS_MAX: u32 = 256;
/// Requests under way in one service without a capacity model.
pub const UNMETERED_WORKERS: u32 = 256;
/// Requests waiting for a worker in one service without a capacity model.
pub const UNMETERED_QUEUE_MAX: u32 = 4096;
/// Workers that a capacity file may declare for one service.
pub const WORKERS_MAX: u32 = 100_000;
/// Requests that a capacity file may let wait in one service.
pub const QUEUE_MAX: u32 = 1_000_000;
/// Milliseconds that a capacity file may declare for one operation, before and after the collapse factor.
pub const COST_MS_MAX: f64 = 60_000.0;
/// Bytes of a capacity file.
pub const CAPACITY_FILE_BYTES_MAX: u64 = 256 * 1024;

/// How long one service waits for a connection to another.
pub const PEER_CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long one service waits for the whole answer of another.
pub const PEER_CALL_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that one service reads from another.
pub const PEER_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Lines of a file of acknowledged operations.
pub const ACKNOWLEDGED_MAX: usize = 10_000_000;
/// Bytes of one such line.
pub const ACKNOWLEDGED_LINE_BYTES_MAX: usize = 256;

/// Items that the portal keeps a copy of, beside those that its own people wait for.
pub const TRACKED_MAX: i64 = 1_000_000;
/// Steps of one item that the portal keeps.
pub const TRACKING_STEPS_MAX: usize = 64;
/// For how long the portal takes what the parcel service told as fresh.
pub const TRACKING_FRESH_MS: i64 = 30_000;
/// For how long the portal leaves a parcel service alone that did not answer.
pub const TRACKING_REST_MS: i64 = 5_000;
/// How long a visitor of the portal waits for the parcel service.
pub const TRACKING_PATIENCE_MAX: Duration = Duration::from_millis(400);
/// Items that the portal asks the parcel service for at once.
pub const TRACKING_ASKED_AT_ONCE_MAX: usize = 8;

/// Readers of one service's database; there is always one writer.
pub const READERS: u32 = 4;
/// How long a request waits for a database connection.
pub const POOL_WAIT_MAX: Duration = Duration::from_secs(10);
/// Argon2 verifications under way at once in one service.
pub const PASSWORD_CHECKS_MAX: usize = 2;
/// Requests waiting for an Argon2 verification in one service.
pub const PASSWORD_WAITERS_MAX: usize = 128;
/// Bytes of a password; a longer one is wrong without being hashed.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Sessions of one user in one service; the oldest goes first.
pub const SESSIONS_PER_USER_MAX: i64 = 16;

/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_LIFE_MS: i64 = 24 * 3600 * 1000;
/// Old idempotency keys removed by each write.
pub const IDEMPOTENCY_PURGE_MAX: i64 = 16;

/// Cents of one transfer.
pub const TRANSFER_CENTS_MAX: i64 = 1_000_000;
/// Transfers of one user that wait for their code; the oldest is voided first.
pub const TRANSFERS_PENDING_PER_USER_MAX: i64 = 8;
/// Wrong codes that a transfer survives, less one.
pub const CODE_TRIES_MAX: i64 = 5;
/// Life of a transfer code.
pub const CODE_LIFE_MS: i64 = 5 * 60 * 1000;
/// Entries of a statement.
pub const STATEMENT_ENTRIES_MAX: i64 = 50;
/// For how long the key that signs tokens is in use.
pub const SIGNING_KEY_LIFE_MS: i64 = 7 * 24 * 3600 * 1000;
/// For how long it is published after that.
pub const SIGNING_KEY_SHOWN_MS: i64 = 24 * 3600 * 1000;
/// Keys that are published at once.
pub const SIGNING_KEYS_MAX: i64 = 4;
/// Life of an access token and of an ID token, seconds.
pub const ACCESS_TOKEN_LIFE_S: i64 = 300;
/// Life of an authorisation code.
pub const CODE_OIDC_LIFE_MS: i64 = 60_000;
/// Life of all that comes from one sign-in.
pub const FAMILY_LIFE_MS: i64 = 30 * 24 * 3600 * 1000;
/// Life of a refresh token that is not used.
pub const REFRESH_LIFE_MS: i64 = 7 * 24 * 3600 * 1000;
/// Sign-ins at clients of one user that go on; the oldest ends first.
pub const FAMILIES_PER_USER_MAX: i64 = 32;
/// Outdated sign-ins and requests removed by each new one.
pub const TOKENS_PURGE_MAX: i64 = 16;
/// Life of a pushed authorisation request.
pub const PUSHED_LIFE_MS: i64 = 90_000;
/// Pushed authorisation requests that wait; only clients that have a secret push.
pub const PUSHED_MAX: i64 = 100_000;
/// Bytes of one parameter of an authorisation request.
pub const PARAMETER_BYTES_MAX: usize = 1024;
/// Wrong one-time passwords in a row, then none is right for [`TOTP_REST_MS`].
pub const TOTP_TRIES_MAX: i64 = 5;
/// See [`TOTP_TRIES_MAX`].
pub const TOTP_REST_MS: i64 = 5 * 60 * 1000;
/// How long the second step of a sign-in may take.
pub const SECOND_STEP_MS: i64 = 5 * 60 * 1000;
/// Sign-ins through the identity service that one relying service has under way; the oldest goes first.
pub const SIGN_INS_UNDER_WAY_MAX: i64 = 100_000;
/// How long a relying service waits for one to come back.
pub const SIGN_IN_LIFE_MS: i64 = 10 * 60 * 1000;
/// For how long a relying service takes keys of the identity service as fresh; older ones still serve while it is gone.
pub const JWKS_FRESH_MS: i64 = 5 * 60 * 1000;
/// Characters of the name of a payee.
pub const PAYEE_NAME_CHARS_MAX: usize = 140;
/// How long a payer waits for the verification of a payee.
pub const PAYEE_ANSWER_MAX: Duration = Duration::from_secs(5);
/// Holds that are out of date and are put aside by each new one.
pub const HOLDS_EXPIRED_AT_ONCE_MAX: i64 = 64;
/// Longest life of a hold, seconds: a week, as hotels and fuel pumps need.
pub const HOLD_LIFE_S_MAX: i64 = 7 * 24 * 3600;
/// Requests of the rails that the bank does at once; beyond, they come again.
pub const INTERNAL_AT_ONCE_MAX: usize = 64;
/// Cents of one operation of the rails.
pub const INTERNAL_CENTS_MAX: i64 = 100_000_000;
/// Cents of one card payment.
pub const CARD_CENTS_MAX: i64 = 150_000;
/// Cents that one card may pay in 24 hours.
pub const CARD_DAY_CENTS_MAX: i64 = 500_000;
/// Payments of one card in 24 hours.
pub const CARD_DAY_COUNT_MAX: i64 = 1000;
/// How long the rails wait for the bank before they decide by themselves: card terminals give up after a few seconds.
pub const CORE_PATIENCE: Duration = Duration::from_millis(1500);
/// For how long the rails leave a bank alone that did not answer.
pub const CORE_REST: Duration = Duration::from_secs(2);
/// Cents of one card payment that the rails approve while the bank is away.
pub const STAND_IN_CENTS_MAX: i64 = 15_000;
/// Cents that one card may pay in 24 hours while the bank is away.
pub const STAND_IN_DAY_CENTS_MAX: i64 = 30_000;
/// Payments of one card in 24 hours while the bank is away.
pub const STAND_IN_DAY_COUNT_MAX: i64 = 10;
/// Advices that wait for the bank; beyond, the rails approve nothing more by themselves.
pub const ADVICES_WAITING_MAX: i64 = 1_000_000;
/// Advices sent to the bank between two looks at the store.
pub const ADVICES_AT_ONCE_MAX: i64 = 32;
/// Pauses between two tries to send advices: the first, and the longest.
pub const ADVICE_PAUSE_MIN: Duration = Duration::from_millis(250);
/// See [`ADVICE_PAUSE_MIN`].
pub const ADVICE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a card operation may be without an answer; then it is reversed.
pub const CARD_UNANSWERED_MS_MAX: i64 = 60_000;
/// Advices that were sent more than a day ago and are removed by each new one.
pub const ADVICES_PURGE_MAX: i64 = 16;
/// Connections of card terminals and their concentrators.
pub const CARD_CONNECTIONS_MAX: usize = 512;
/// Messages of one such connection that are worked on at once.
pub const CARD_MESSAGES_AT_ONCE_MAX: u32 = 32;
/// How long such a connection may be silent; an echo (0800) is enough.
pub const CARD_IDLE_MAX: Duration = Duration::from_secs(120);
/// How long one message may take to arrive or to be taken.
pub const CARD_MESSAGE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a test terminal waits for an answer, seconds.
pub const TERMINAL_PATIENCE_S_MAX: u64 = 60;
/// SMS that wait to be sent; beyond, the partner is asked to come back.
pub const SMS_QUEUED_MAX: i64 = 100_000;
/// Payments online of one card that wait for their code; the oldest is voided first.
pub const PAYMENTS_PENDING_PER_CARD_MAX: i64 = 8;
/// SMS that wait for one telephone. Drills send to a thousand telephones for minutes, and nobody takes what they send.
pub const SMS_PER_TELEPHONE_MAX: i64 = 500;
/// Cents of one operation at a counter.
pub const COUNTER_CENTS_MAX: i64 = 300_000;
/// Cents brought to a till at once.
pub const TILL_FLOAT_CENTS_MAX: i64 = 1_000_000;
/// Cents that a terminal pays out before the counter service has heard of them.
pub const CASH_OUT_OFFLINE_CENTS_MAX: i64 = 150_000;
/// Terminals of all offices.
pub const TERMINALS_MAX: i64 = 100_000;
/// Entries that a terminal sends at once.
pub const ENTRIES_AT_ONCE_MAX: usize = 100;
/// S10 identifiers that a terminal is given at once.
pub const S10_RANGE: i64 = 100;
/// Ranges of which a terminal has not used most; beyond, it is given no more.
pub const S10_RANGES_OPEN_MAX: i64 = 3;
/// A terminal asks for a new range when it has fewer identifiers than this.
pub const S10_LEFT_MIN: i64 = 150;
/// Pauses of a terminal between two tries to reach the counter service: the first, and the longest.
pub const REPLAY_PAUSE_MIN: Duration = Duration::from_millis(250);
/// See [`REPLAY_PAUSE_MIN`].
pub const REPLAY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Entries that the clerk's page shows.
pub const TILL_SHOWN_MAX: i64 = 20;
/// Entries between two closings; then the day must be closed.
pub const TILL_DAY_ENTRIES_MAX: i64 = 5000;
/// Stamps sold at once.
pub const STAMPS_AT_ONCE_MAX: i64 = 1000;
/// Items that are told of at once, in the shape that existing clients know.
pub const IDSHIPS_AT_ONCE_MAX: usize = 10;
/// Parcels of one round.
pub const DELIVERY_LIST_MAX: usize = 1000;
/// Bytes of the list of a round.
pub const DELIVERY_LIST_BYTES_MAX: u64 = 1024 * 1024;
/// Scans of one parcel.
pub const SCANS_PER_PARCEL_MAX: i64 = 64;
/// Reads of one agent in an hour.
pub const FILE_READS_PER_HOUR_MAX: i64 = 2000;
/// How long a passkey sign-in gives an agent the right to do more than read single files.
pub const PRIVILEGE_MS: i64 = 10 * 60 * 1000;
/// Life of a passkey ceremony that was begun.
pub const CEREMONY_LIFE_MS: i64 = 5 * 60 * 1000;
/// Passkey ceremonies of one agent under way; the oldest goes first.
pub const CEREMONIES_PER_AGENT_MAX: i64 = 4;
/// Passkeys of one person at the identity service.
pub const PASSKEYS_PER_PERSON_MAX: i64 = 8;
/// Passkey ceremonies at the identity service that were finished within [`CEREMONY_LIFE_MS`]; beyond, people come back later.
pub const CEREMONIES_DONE_MAX: i64 = 50_000;
/// How long ago a sign-in may be in which ways to sign in are made or ended.
pub const SIGN_IN_FRESH_MS: i64 = 10 * 60 * 1000;
/// Passkeys of one agent.
pub const PASSKEYS_PER_AGENT_MAX: i64 = 8;
/// Files of one bulk export.
pub const EXPORT_FILES_MAX: usize = 100;
/// Bulk exports of one agent that wait.
pub const EXPORTS_PER_AGENT_MAX: i64 = 8;
/// Life of a bulk export, from its request to its package.
pub const EXPORT_LIFE_MS: i64 = 4 * 3600 * 1000;
/// Longest lock-down, minutes; then it ends by itself.
pub const LOCKDOWN_MINUTES_MAX: i64 = 24 * 60;
/// How long a request for a lock-down waits for a second person.
pub const LOCKDOWN_ASKED_MS: i64 = 15 * 60 * 1000;
/// Entries of the audit given out at once.
pub const AUDIT_PAGE_MAX: i64 = 200;
/// Bytes of the last signed head that are read at the start.
pub const HEADS_TAIL_BYTES_MAX: u64 = 4096;
/// Characters of a search.
pub const SEARCH_CHARS_MAX: usize = 80;
/// Results of a search.
pub const SEARCH_RESULTS_MAX: i64 = 20;
/// How far the clock of a scanner may be ahead.
pub const CLOCK_AHEAD_MS_MAX: i64 = 10 * 60 * 1000;
/// Bytes of one text message.
pub const SMS_BYTES_MAX: usize = 254;
/// How often a message is handed over until it is given up.
pub const SMS_TRIES_MAX: i64 = 10;
/// Messages handed over at once.
pub const SMSC_WINDOW: i64 = 32;
/// Receipts that wait to be noted.
pub const SMSC_RECEIPTS_MAX: usize = 1024;
/// How long the gateway waits for a connection to the message centre.
pub const SMSC_CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long the gateway waits for an answer of the message centre.
pub const SMSC_ANSWER_MAX: Duration = Duration::from_secs(5);
/// How often the gateway looks for new messages.
pub const SMSC_POLL: Duration = Duration::from_millis(100);
/// Pauses of the gateway between two tries to reach the message centre: the first, and the longest.
pub const SMSC_PAUSE_MIN: Duration = Duration::from_millis(250);
/// See [`SMSC_PAUSE_MIN`].
pub const SMSC_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Connections of the test telephone's message centre.
pub const SMSC_CONNECTIONS_MAX: usize = 16;
/// Bytes of one message of the protocol to it.
pub const SMSC_FRAME_BYTES_MAX: usize = 4096;
/// How long a client of it may be silent.
pub const SMSC_IDLE_MAX: Duration = Duration::from_secs(60);
/// Messages that the test telephone keeps.
pub const TELEPHONE_MESSAGES_MAX: usize = 1000;
/// Messages that it shows at once.
pub const TELEPHONE_MESSAGES_SHOWN_MAX: usize = 50;
/// How long the bank waits for an approval in the application before it sends the code by text message.
pub const APPROVAL_PATIENCE: Duration = Duration::from_secs(15);
/// Approvals of one user that wait in the application; the oldest goes first.
pub const APPROVALS_WAITING_PER_USER_MAX: i64 = 16;
/// Text messages that the bank hands to the rails at once; beyond, they are read in its own outbox.
pub const BANK_SMS_AT_ONCE_MAX: usize = 64;
/// How often the bank hands the same message to the rails.
pub const BANK_SMS_TRIES_MAX: u32 = 4;
/// Outdated messages removed by each new one.
pub const SMS_PURGE_MAX: i64 = 64;

/// How long the other bank has to answer an instant transfer before it is asked what became of it.
pub const INSTANT_TARGET: Duration = Duration::from_secs(5);
/// From the payer's order: after this the payee's bank refuses.
pub const INSTANT_CUT_OFF_MS: i64 = 7_000;
/// From the payer's order: until then the payee's bank is asked what became of it.
pub const INSTANT_CONFIRMED_MS: i64 = 9_000;
/// From the payer's order: then the payer has the money back.
pub const INSTANT_OVER_MS: i64 = 10_000;
/// From the payer's order: a bank that then knows nothing of a transfer will not take it any more.
pub const INSTANT_GONE_MS: i64 = 30_000;
/// How far the clock of another bank may be ahead.
pub const INSTANT_AHEAD_MS: i64 = 5_000;
/// Instant transfers to other banks under way at once.
pub const INSTANTS_AT_ONCE_MAX: usize = 512;
/// Unsettled transfers that are asked about in one turn.
pub const INSTANTS_ASKED_MAX: i64 = 32;
/// Aliases of one person.
pub const ALIASES_PER_OWNER_MAX: i64 = 5;
/// Aliases that one person may look up within an hour: a directory is not for reading.
pub const ALIAS_LOOKUPS_MAX: i64 = 60;
/// Aliases of one person that wait for their code.
pub const ALIAS_CLAIMS_MAX: i64 = 3;
/// E-mails that wait in the folder for the post.
pub const MAILS_WAITING_MAX: usize = 1000;
/// Transfers that the other bank of the demo remembers.
pub const PARTICIPANT_TRANSFERS_MAX: usize = 100_000;

const _: () = assert!(INSTANT_TARGET.as_millis() <= INSTANT_CUT_OFF_MS as u128);
const _: () = assert!(INSTANT_CUT_OFF_MS < INSTANT_CONFIRMED_MS && INSTANT_CONFIRMED_MS < INSTANT_OVER_MS);
const _: () = assert!(INSTANT_OVER_MS + INSTANT_AHEAD_MS < INSTANT_GONE_MS);
const _: () = assert!(guichet_iso20022::MESSAGE_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX < DOCUMENT_BYTES_MAX);
const _: () = assert!((DOCUMENT_BYTES_MAX as i64) < DOCUMENTS_BYTES_PER_USER_MAX);
const _: () = assert!(EXPORT_FILES_MAX as i64 <= FILE_READS_PER_HOUR_MAX);
const _: () = assert!(CEREMONY_LIFE_MS < SIGN_IN_FRESH_MS);
const _: () = assert!(CEREMONY_LIFE_MS < PRIVILEGE_MS && PRIVILEGE_MS < EXPORT_LIFE_MS);
const _: () = assert!(VAULT_NAME_BYTES_MAX < VAULT_PATH_BYTES_MAX);
const _: () = assert!(DOCUMENTS_PER_USER_MAX < TRAIL_ENTRIES_PER_USER_MAX);
const _: () = assert!(PROPERTY_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(CARD_CENTS_MAX < CARD_DAY_CENTS_MAX);
const _: () = assert!(STAND_IN_CENTS_MAX < CARD_CENTS_MAX && STAND_IN_DAY_CENTS_MAX < CARD_DAY_CENTS_MAX);
const _: () = assert!(CARD_DAY_CENTS_MAX < INTERNAL_CENTS_MAX);
const _: () = assert!(CORE_PATIENCE.as_millis() < PEER_CALL_MAX.as_millis());
const _: () = assert!(ADVICE_PAUSE_MIN.as_millis() < ADVICE_PAUSE_MAX.as_millis());
const _: () = assert!(PEER_CONNECT_MAX.as_millis() < PEER_CALL_MAX.as_millis());
const _: () = assert!(PEER_CALL_MAX.as_millis() < HANDLER_MAX.as_millis());
const _: () = assert!(TRACKING_PATIENCE_MAX.as_millis() < PEER_CALL_MAX.as_millis());
const _: () = assert!(SCANS_PER_PARCEL_MAX as usize <= TRACKING_STEPS_MAX);
const _: () = assert!(SMS_PER_TELEPHONE_MAX < SMS_QUEUED_MAX);
const _: () = assert!(SMSC_WINDOW < SMS_QUEUED_MAX);
const _: () = assert!(SMSC_PAUSE_MIN.as_millis() < SMSC_PAUSE_MAX.as_millis());
const _: () = assert!(TELEPHONE_MESSAGES_SHOWN_MAX <= TELEPHONE_MESSAGES_MAX);
const _: () = assert!(ACCESS_TOKEN_LIFE_S * 1000 < SIGNING_KEY_SHOWN_MS && CODE_OIDC_LIFE_MS <= 60_000);
const _: () = assert!(REFRESH_LIFE_MS < FAMILY_LIFE_MS);
const _: () = assert!(S10_LEFT_MIN < S10_RANGE * S10_RANGES_OPEN_MAX);
const _: () = assert!(CASH_OUT_OFFLINE_CENTS_MAX <= COUNTER_CENTS_MAX);
const _: () = assert!((APPROVAL_PATIENCE.as_millis() as i64) < CODE_LIFE_MS);
const _: () = assert!(TRANSFERS_PENDING_PER_USER_MAX <= APPROVALS_WAITING_PER_USER_MAX);
// Serial numbers of counters begin at 20,000,000, those of the test data at 10,000,000.
const _: () = assert!(PARCELS_SEEDED + LARGE_PARCELS < 10_000_000);
const _: () = assert!(HEAD_READ_MAX.as_secs() > 60);
const _: () = assert!(PARCELS_SEEDED.is_multiple_of(USERS));
