//! A role for each service in PostgreSQL, so that none can read what another has, and one that reads only, for `verify`.

use super::{DATABASE_VARIABLE, Database, dialect::SERVICE};
use crate::key_file;
use crate::service::Service;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Options of `roles`.
#[derive(Args, Debug)]
pub struct Roles {
    /// Folder of the keys, where the roles' passwords are put (`roles.pgpass`).
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The database, as somebody who may make roles and schemas there.
    #[arg(long, value_name = "postgres://ADMIN@HOST/DATABASE", env = DATABASE_VARIABLE, hide_env_values = true)]
    pub database: Database,
}

/// Who reads all, and writes nothing.
pub(crate) const VERIFY: &str = "verify";

/// What names of roles begin with.
const PREFIX: &str = "guichet_";

/// Passwords of the roles, a line each, as `psql` and other programs take them from `PGPASSFILE`.
const FILE: &str = "roles.pgpass";

/// All roles, each with a service's name or [`VERIFY`].
fn names() -> impl Iterator<Item = &'static str> {
    Service::ALL.into_iter().map(Service::name).chain([VERIFY])
}

/// The password that the data folder has for a user; `None` where there is no such file or line.
pub(super) fn password(dir: &Path, user: &str) -> anyhow::Result<Option<String>> {
    let file = dir.join(FILE);
    if !file.exists() {
        return Ok(None);
    }
    let text = key_file::read(&file, "the passwords of the services' roles", "")?;
    let found = text.lines().find_map(|line| line.strip_prefix("*:*:*:")?.strip_prefix(user)?.strip_prefix(':'));
    Ok(found.map(str::to_owned))
}

/// Makes roles and schemas that are not there, all or none, and gives the roles the passwords of the data folder.
///
/// # Errors
/// When the user may not, the server is away, or a schema is there already that belongs to somebody else.
pub(crate) async fn run(options: &Roles) -> anyhow::Result<ExitCode> {
    let (database, dir) = (&options.database, options.data.as_path());
    ensure!(
        !database.has_roles(),
        "--database: {SERVICE} is for the services; `roles` takes the connection string of somebody who may make roles"
    );
    crate::estate::make_folder(dir)?;
    let file = dir.join(FILE);
    if !file.exists() {
        let mut lines = String::new();
        for name in names() {
            writeln!(lines, "*:*:*:{PREFIX}{name}:{}", hex::encode(&key_file::random()?[..16]))?;
        }
        key_file::make(&file, "the passwords of the services' roles", lines.trim_end())?;
    }
    let url = database.url("", dir)?;
    let mut connection = PgConnection::connect(&url).await.map_err(|error| super::refused(error, database.place()))?;
    let mut tx = connection.begin().await?;
    for name in names() {
        let role = format!("{PREFIX}{name}");
        let Some(password) = password(dir, &role)? else {
            bail!("{}: has no line for {role}; move it away and start again", file.display())
        };
        let there: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_roles WHERE rolname = $1")
            .bind(&role)
            .fetch_one(&mut *tx)
            .await?;
        let verb = if there == 0 { "CREATE" } else { "ALTER" };
        say(&mut tx, format!("{verb} ROLE \"{role}\" LOGIN PASSWORD '{password}'"), "can't make the role").await?;
    }
    for service in Service::ALL {
        schema(&mut tx, service.name())
            .await
            .with_context(|| format!("{} (schema {})", database.place(), service.name()))?;
    }
    tx.commit().await?;
    let told = database.place().replacen("://", &format!("://{PREFIX}{SERVICE}@"), 1);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Roles {PREFIX}portal to {PREFIX}staff, and {PREFIX}{VERIFY}, are there; their passwords: {}",
        file.display()
    )?;
    writeln!(out, "Services and verify take: --data {} --database '{told}'", dir.display())?;
    Ok(ExitCode::SUCCESS)
}

/// A statement of names and passwords that this program made.
async fn say(tx: &mut PgConnection, sql: String, failed: &'static str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await.context(failed)?;
    Ok(())
}

/// The schema of a service: its role's own, `verify` reads what is and will be in it.
async fn schema(tx: &mut PgConnection, name: &str) -> anyhow::Result<()> {
    let (role, reader) = (format!("{PREFIX}{name}"), format!("{PREFIX}{VERIFY}"));
    let owner: Option<String> =
        sqlx::query_scalar("SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = $1")
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
    if let Some(owner) = owner.as_ref().filter(|owner| **owner != role) {
        bail!(
            "the schema belongs to {owner}: roles are for a database in which the estate was never started without them"
        );
    }
    let make =
        if owner.is_none() { format!("CREATE SCHEMA \"{name}\" AUTHORIZATION \"{role}\";") } else { String::new() };
    // Who makes a schema for a role must be a member of it for so long.
    let sql = format!(
        "GRANT \"{role}\" TO CURRENT_USER; {make}
         GRANT USAGE ON SCHEMA \"{name}\" TO \"{reader}\";
         GRANT SELECT ON ALL TABLES IN SCHEMA \"{name}\" TO \"{reader}\";
         ALTER DEFAULT PRIVILEGES FOR ROLE \"{role}\" IN SCHEMA \"{name}\" GRANT SELECT ON TABLES TO \"{reader}\";
         REVOKE \"{role}\" FROM CURRENT_USER"
    );
    say(tx, sql, "can't make the schema").await
}
