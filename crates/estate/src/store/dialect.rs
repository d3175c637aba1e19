//! What SQLite and PostgreSQL say differently, in one place. Statements are written so that both take them; tables are
//! written for SQLite and put into PostgreSQL's words here, where functions of SQLite's names stand in for what it lacks.

use anyhow::{Context, ensure};
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The environment variable that says what `--database` says, out of sight of who lists the machine's processes.
pub const DATABASE_VARIABLE: &str = "GUICHET_DATABASE";

/// What stands for the service's name in a connection string, so that each service is a user of its own.
pub(super) const SERVICE: &str = "{service}";

/// A PostgreSQL database, by its connection string; each service has a schema of its own in it.
///
/// Where the user's name ends with `{service}`, each service connects as a user of its own, and what only reads as the
/// user whose name has `verify` there; passwords that the string does not have stand in `roles.pgpass` of the data folder.
#[derive(Clone)]
pub struct Database {
    url: String,
    /// Host, port and database: the string without its password.
    place: String,
}

impl FromStr for Database {
    type Err = anyhow::Error;

    /// # Errors
    /// When it is no `postgres://` string; the message never repeats what could be a password.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        ensure!(
            text.starts_with("postgres://") || text.starts_with("postgresql://"),
            "takes a connection string of PostgreSQL, as postgres://user@host:5432/database"
        );
        let places = text.matches(SERVICE).count();
        let (at_end, before_password) = (format!("{SERVICE}@"), format!("{SERVICE}:"));
        ensure!(
            places == 0 || places == 1 && (text.contains(&at_end) || text.contains(&before_password)),
            "{SERVICE} stands once, at the end of the user's name, as postgres://guichet_{SERVICE}@host:5432/database"
        );
        let options = PgConnectOptions::from_str(&text.replace(SERVICE, "bank"))
            .context("not a connection string that PostgreSQL's clients take")?;
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let place = format!("postgres://{}:{}/{database}", options.get_host(), options.get_port());
        Ok(Self { url: text.to_owned(), place })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.place)
    }
}

impl Database {
    /// Host, port and database, for messages.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The whole connection string, with its password: for the environment of a child process, never for a message.
    #[must_use]
    pub fn connection_string(&self) -> &str {
        &self.url
    }

    /// Whether each service is a user of its own.
    pub(super) fn has_roles(&self) -> bool {
        self.url.contains(SERVICE)
    }

    /// The connection string of a service, with the password that the data folder has for its role.
    pub(super) fn url(&self, service: &str, dir: &Path) -> anyhow::Result<String> {
        let user = self.url.split_once("://").and_then(|(_, rest)| rest.split_once(SERVICE));
        let Some((prefix, rest)) = user else { return Ok(self.url.clone()) };
        let password =
            if rest.starts_with('@') { super::roles::password(dir, &format!("{prefix}{service}"))? } else { None };
        let password = password.map_or_else(String::new, |password| format!(":{password}"));
        Ok(self.url.replacen(SERVICE, &format!("{service}{password}"), 1))
    }
}

/// What is said first on each connection of a store.
pub(super) fn greeting(postgres_schema: Option<&str>, writes: bool) -> String {
    match (postgres_schema, writes) {
        // The schema stands before the system's: its functions of SQLite's kind come first.
        (Some(schema), true) => format!("SET search_path = \"{schema}\", pg_catalog; SET lock_timeout = '5s'"),
        (Some(schema), false) => {
            format!("SET search_path = \"{schema}\", pg_catalog; SET default_transaction_read_only = on")
        }
        (None, true) => "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON".to_owned(),
        (None, false) => "PRAGMA query_only = ON".to_owned(),
    }
}

/// What each schema has before its tables.
pub(super) const PRELUDE: &str = r"
CREATE TABLE schema_version (known BIGINT NOT NULL);
INSERT INTO schema_version VALUES (0);
CREATE FUNCTION max(a BIGINT, b BIGINT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT AS 'SELECT greatest(a, b)';
CREATE FUNCTION instr(t TEXT, part TEXT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT AS 'SELECT strpos(t, part)::bigint';
CREATE FUNCTION zeroblob(n BIGINT) RETURNS BYTEA LANGUAGE sql IMMUTABLE STRICT AS $f$SELECT decode(repeat('00', n::int), 'hex')$f$;
CREATE FUNCTION json_each(t TEXT) RETURNS TABLE (value JSONB) LANGUAGE sql IMMUTABLE AS 'SELECT jsonb_array_elements(t::jsonb)';
CREATE FUNCTION member(t TEXT, name TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS 'SELECT t::jsonb->>name';
CREATE OPERATOR ->> (LEFTARG = TEXT, RIGHTARG = TEXT, FUNCTION = member);
CREATE FUNCTION one_more(n BIGINT, yes BOOLEAN) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS 'SELECT n + coalesce(yes::int, 0)';
CREATE AGGREGATE sum (BOOLEAN) (SFUNC = one_more, STYPE = BIGINT, INITCOND = '0');
CREATE AGGREGATE sum (BIGINT) (SFUNC = int8pl, STYPE = BIGINT);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END$f$;
CREATE FUNCTION number_row() RETURNS trigger LANGUAGE plpgsql AS $f$
DECLARE n BIGINT;
BEGIN
  IF (to_jsonb(NEW)->>TG_ARGV[0]) IS NULL THEN
    EXECUTE format('SELECT coalesce(max(%I), 0) + 1 FROM %I.%I', TG_ARGV[0], TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO n;
    NEW := jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[0], n));
  END IF;
  RETURN NEW;
END$f$;
";

/// Tables, indexes and triggers as SQLite has them, for PostgreSQL. Text compares by bytes, as there.
pub(crate) fn tables(sqlite: &str) -> String {
    statements(sqlite).map(|statement| self::statement(statement.trim())).collect()
}

/// Statements end with `;`, triggers with `END;`.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = sql.trim();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = if rest.starts_with("CREATE TRIGGER") { "END;" } else { ";" };
        let at = rest.find(end).map_or(rest.len(), |at| at + end.len());
        let (statement, more) = rest.split_at(at);
        rest = more.trim_start();
        Some(statement)
    })
}

fn statement(sql: &str) -> String {
    if let Some((head, message)) = sql.split_once("BEGIN SELECT RAISE(ABORT, ") {
        let message = message.split_once(");").map_or(message, |(message, _)| message);
        return format!("{head}FOR EACH ROW EXECUTE FUNCTION refuse({message});\n");
    }
    let mut out = sql.trim_end_matches(';').replace(" STRICT, WITHOUT ROWID", "").replace(" STRICT", "");
    let mut numbered = String::new();
    if let Some(at) = out.find(" INTEGER PRIMARY KEY AUTOINCREMENT") {
        let column = out[..at].rsplit([' ', '(', '\n']).next().unwrap_or("");
        let table = out.split(' ').nth(2).unwrap_or("");
        numbered = format!(
            "CREATE TRIGGER {table}_numbered BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION number_row('{column}');\n"
        );
        out = out.replace(" INTEGER PRIMARY KEY AUTOINCREMENT", " BIGINT PRIMARY KEY");
    }
    for (sqlite, postgres) in [(" INTEGER", " BIGINT"), (" BLOB", " BYTEA"), (" TEXT", " TEXT COLLATE \"C\"")] {
        out = out.replace(sqlite, postgres);
    }
    format!("{out};\n{numbered}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_put_into_the_other_words() {
        let check = |sqlite: &str, postgres: &str| assert_eq!(tables(sqlite), postgres);
        check(
            "CREATE TABLE t (a TEXT, b BLOB NOT NULL) STRICT, WITHOUT ROWID;",
            "CREATE TABLE t (a TEXT COLLATE \"C\", b BYTEA NOT NULL);\n",
        );
        check(
            "CREATE TABLE t (n INTEGER PRIMARY KEY AUTOINCREMENT) STRICT",
            "CREATE TABLE t (n BIGINT PRIMARY KEY);\nCREATE TRIGGER t_numbered BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION number_row('n');\n",
        );
        check(
            "CREATE TRIGGER k BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'no'); END; CREATE INDEX i ON t (a);",
            "CREATE TRIGGER k BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse('no');\nCREATE INDEX i ON t (a);\n",
        );
    }

    #[test]
    fn each_service_is_a_user_of_its_own_where_the_string_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let url = |text: &str| text.parse::<Database>().unwrap().url("bank", dir.path()).unwrap();
        assert_eq!(url("postgres://me:p@host/db"), "postgres://me:p@host/db");
        assert_eq!(url("postgres://g_{service}@host/db"), "postgres://g_bank@host/db");
        let file = "*:*:*:g_portal:one\n*:*:*:g_bank:two\n";
        crate::key_file::make(&dir.path().join("roles.pgpass"), "passwords", file).unwrap();
        assert_eq!(
            url("postgres://g_{service}@host/db?sslmode=require"),
            "postgres://g_bank:two@host/db?sslmode=require"
        );
        assert_eq!(url("postgres://g_{service}:same@host/db"), "postgres://g_bank:same@host/db");
        assert_eq!(url("postgres://x_{service}@host/db"), "postgres://x_bank@host/db", "no line for it");
    }

    #[test]
    fn a_password_is_in_no_message() {
        let database: Database = "postgres://me:hidden@db.example:5433/bank".parse().unwrap();
        assert_eq!(format!("{database:?}"), "postgres://db.example:5433/bank");
        for wrong in [
            "mysql://me:hidden@host/db",
            "postgres://me:hidden@host:port/db",
            "me:hidden",
            "postgres://me:hidden@host/{service}",
            "postgres://{service}:hidden@host/{service}",
        ] {
            let error = format!("{:#}", wrong.parse::<Database>().unwrap_err());
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
