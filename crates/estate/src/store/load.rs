//! Very many rows at once, in one transaction: by COPY in PostgreSQL, by statements that take a JSON array in SQLite.
//! Who makes the rows says the same for both.

use super::{Place, Store, Tx, dialect, lock_number};
use crate::bounds::LARGE_ROWS_AT_ONCE;
use crate::service::Service;
use anyhow::Context as _;
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// One value of a row.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Text(String),
    Word(&'static str),
    Number(i64),
}

/// A table, and the columns that rows give, in their order. The names are this program's own.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
    /// The column that has bytes, if there is one; its values are words.
    pub(crate) bytes: Option<&'static str>,
    /// Whether the store numbers rows that come without a number; these rows bring theirs.
    pub(crate) numbered: bool,
}

/// A transaction that fills tables. Dropped before [`Load::commit`], it leaves nothing behind.
pub(crate) enum Load {
    Sqlite(Tx),
    /// A connection of its own: COPY is no statement that all databases have.
    Postgres(PgConnection),
}

/// What is put off until the rows are there: the one check of all of them, and sorting them, is so much less work than a
/// look at each.
const PUT_OFF: &str = "
SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', $1, conname),
       format('ALTER TABLE %I ADD CONSTRAINT %I %s', $1, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'f'
UNION ALL
SELECT format('DROP INDEX %I', c.relname), pg_get_indexdef(c.oid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::regclass AND NOT i.indisunique";

impl Load {
    /// Begins it; whoever else writes to the store waits.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn begin(place: Place<'_>, store: &Store, service: Service) -> anyhow::Result<Self> {
        let Some(database) = place.database else { return Ok(Self::Sqlite(store.begin().await?)) };
        let name = service.name();
        let url = database.url(name, place.dir)?;
        let mut connection = PgConnection::connect(&url).await.with_context(|| place.tell(name))?;
        let greeting = dialect::greeting(Some(name), true);
        let lock = lock_number(name);
        let begin = format!(
            "{greeting}; BEGIN; SELECT pg_advisory_xact_lock({lock}); SET LOCAL maintenance_work_mem = '256MB'"
        );
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await?;
        Ok(Self::Postgres(connection))
    }

    /// The number that a statement gives, if it gives one; its parameters are numbers and texts, numbers first.
    ///
    /// # Errors
    /// When the statement fails.
    pub(crate) async fn number(
        &mut self,
        sql: &'static str,
        numbers: &[i64],
        texts: &[&str],
    ) -> anyhow::Result<Option<i64>> {
        macro_rules! ask {
            ($connection:expr) => {{
                let mut query = sqlx::query_scalar(sql);
                for number in numbers {
                    query = query.bind(*number);
                }
                for text in texts {
                    query = query.bind((*text).to_owned());
                }
                query.fetch_optional($connection).await.context(sql)
            }};
        }
        match self {
            Self::Sqlite(tx) => ask!(&mut **tx),
            Self::Postgres(connection) => ask!(connection),
        }
    }

    /// Writes rows; one that is there already is an error.
    ///
    /// # Errors
    /// When the store does not take one.
    pub(crate) async fn rows(
        &mut self,
        table: &Table,
        mut rows: impl Iterator<Item = Vec<Value>> + Send,
    ) -> anyhow::Result<()> {
        let after = match self {
            Self::Sqlite(_) => Vec::new(),
            Self::Postgres(connection) => put_off(connection, table).await.context(table.name)?,
        };
        loop {
            let some: Vec<_> = rows.by_ref().take(LARGE_ROWS_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            match self {
                Self::Sqlite(tx) => {
                    let json = serde_json::to_string(&some)?;
                    let insert = AssertSqlSafe(table.insert_for_sqlite());
                    sqlx::query(insert).bind(json).execute(&mut **tx).await.context(table.name)?;
                }
                Self::Postgres(connection) => {
                    let mut copy = connection.copy_in_raw(&table.copy()).await.context(table.name)?;
                    copy.send(text(&some)).await.context(table.name)?;
                    copy.finish().await.context(table.name)?;
                }
            }
        }
        if let Self::Postgres(connection) = self {
            for sql in after {
                sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut *connection).await.context(sql)?;
            }
        }
        Ok(())
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn commit(self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(mut connection) => {
                sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }
}

/// Puts off a table's references, its indexes that no constraint needs, and the numbering of rows; what brings them back.
async fn put_off(connection: &mut PgConnection, table: &Table) -> anyhow::Result<Vec<String>> {
    let mut found: Vec<(String, String)> = sqlx::query_as(PUT_OFF).bind(table.name).fetch_all(&mut *connection).await?;
    if table.numbered {
        let (name, trigger) = (table.name, format!("{}_numbered", table.name));
        let say = |what| format!("ALTER TABLE {name} {what} TRIGGER {trigger}");
        found.push((say("DISABLE"), say("ENABLE")));
    }
    for (off, _) in &found {
        sqlx::raw_sql(AssertSqlSafe(off.clone())).execute(&mut *connection).await.context(off.clone())?;
    }
    Ok(found.into_iter().map(|(_, on)| on).collect())
}

impl Table {
    fn insert_for_sqlite(&self) -> String {
        let value = |(n, column): (usize, &&str)| match self.bytes {
            Some(bytes) if bytes == *column => format!("CAST(value->>{n} AS BLOB)"),
            _ => format!("value->>{n}"),
        };
        let values: Vec<_> = self.columns.iter().enumerate().map(value).collect();
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM json_each($1)",
            self.name,
            self.columns.join(", "),
            values.join(", ")
        )
    }

    fn copy(&self) -> String {
        format!("COPY {} ({}) FROM STDIN", self.name, self.columns.join(", "))
    }
}

/// Rows in COPY's own text format: a line a row, tabs between values.
fn text(rows: &[Vec<Value>]) -> Vec<u8> {
    let mut out = String::new();
    for row in rows {
        for (n, value) in row.iter().enumerate() {
            if n > 0 {
                out.push('\t');
            }
            match value {
                Value::Text(text) => escaped(text, &mut out),
                Value::Word(text) => escaped(text, &mut out),
                Value::Number(number) => out.push_str(&number.to_string()),
            }
        }
        out.push('\n');
    }
    out.into_bytes()
}

fn escaped(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_marks_of_the_format_stay_one_value() {
        let rows =
            [vec![Value::Text("a\tb\\n\nc\r".to_owned()), Value::Number(-7)], vec![Value::Word(""), Value::Number(0)]];
        assert_eq!(String::from_utf8(text(&rows)).unwrap(), "a\\tb\\\\n\\nc\\r\t-7\n\t0\n");
    }
}
