//! A SQLite store moved to an empty PostgreSQL database: every row as it is, in one transaction, which is kept only if the log and
//! the tables arrived whole.
//!
//! ```text
//! the file's lock --one moment of it--> rows, some hundred at a time --triggers off--> the server's tables
//!                                                    '--> counted on both sides, each table's digest compared --> commit
//! ```
//!
//! The triggers judge moves, and what is copied has made its moves. They are off for the table's owner within the transaction
//! only, and nobody else can write meanwhile.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use sqlx::{
    Connection as _, Postgres, QueryBuilder, Row as _, SqliteConnection, Transaction, postgres::PgConnection,
};

use super::{Server, sql::migrations};
use crate::store::{
    Migrate, OpenError, StoreError,
    rows::failed,
    sqlite::{lock, snapshot::Moment},
};

/// How many rows go at a time.
const PAGE: i64 = 500;

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the databases can't be used as it is.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// One of the databases failed. Nothing was kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is something already.
    #[error("{server} has records already, and nothing is written over; name an empty database")]
    NotEmpty {
        /// The database.
        server: String,
    },
    /// A daemon uses it, which would go on with a key of before.
    #[error("the daemon {daemon:?} is at {server}; stop hallpassd everywhere first")]
    InUse {
        /// The database.
        server: String,
        /// The daemon's name.
        daemon: String,
    },
    /// What arrived isn't what was sent. Nothing was kept.
    #[error("the rows of {table} didn't arrive as they were; nothing was kept")]
    Differs {
        /// The table.
        table: &'static str,
    },
}

/// How many rows each table has.
pub type Counts = Vec<(&'static str, u64)>;

/// A column's kind, in both databases.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Number,
    Bytes,
    Flag,
}

/// A table: its columns, of which the first so many are its key.
struct Table {
    name: &'static str,
    key: usize,
    columns: &'static [(&'static str, Kind)],
}

use Kind::{Bytes, Flag, Number, Text};

/// All that is kept, in the order in which one rests on another. What is missing here is made of these.
const TABLES: &[Table] = &[
    Table { name: "settings", key: 1, columns: &[("name", Text), ("value", Bytes)] },
    Table {
        name: "requests",
        key: 1,
        columns: &[
            ("id", Text),
            ("target", Text),
            ("credential_path", Text),
            ("requester_subject", Text),
            ("requester_name", Text),
            ("duration_seconds", Number),
            ("reason", Text),
            ("ticket", Text),
            ("approvals_required", Number),
            ("submitted_at", Number),
            ("idempotency_key", Text),
            ("state", Text),
            ("revision", Number),
            ("lapses_at", Number),
            ("approved_at", Number),
            ("withdrawn_at", Number),
            ("lapsed_at", Number),
            ("claimed_at", Number),
            ("not_before", Number),
            ("groups", Text),
            ("texts_erased_at", Number),
            ("digest", Text),
        ],
    },
    Table {
        name: "decisions",
        key: 2,
        columns: &[
            ("request_id", Text),
            ("position", Number),
            ("verdict", Text),
            ("approver_subject", Text),
            ("approver_name", Text),
            ("statement", Text),
            ("digest", Text),
            ("decided_at", Number),
            ("signed_text", Text),
            ("signature", Text),
            ("signed_with", Text),
            ("user_present", Number),
            ("groups", Text),
            ("duration_seconds", Number),
            ("not_before", Number),
            ("not_after", Number),
            ("texts_erased_at", Number),
        ],
    },
    Table {
        name: "grants",
        key: 1,
        columns: &[
            ("id", Text),
            ("request_id", Text),
            ("target", Text),
            ("credential_path", Text),
            ("holder_subject", Text),
            ("holder_name", Text),
            ("opens_at", Number),
            ("closes_at", Number),
            ("opened_at", Number),
            ("state", Text),
            ("revision", Number),
            ("token_accessor", Text),
            ("wrapping_accessor", Text),
            ("lease_id", Text),
            ("activated_at", Number),
            ("cause", Text),
            ("begun_at", Number),
            ("step", Text),
            ("error", Text),
            ("revoked_at", Number),
            ("failed_at", Number),
            ("alarms", Number),
        ],
    },
    Table {
        name: "freezes",
        key: 1,
        columns: &[
            ("id", Text),
            ("extent", Text),
            ("by_subject", Text),
            ("by_name", Text),
            ("reason", Text),
            ("frozen_at", Number),
            ("ends_grants", Flag),
            ("thawed_at", Number),
            ("revision", Number),
            ("texts_erased_at", Number),
        ],
    },
    Table {
        name: "audit_events",
        key: 1,
        columns: &[("sequence", Number), ("leaf", Text), ("hashes", Bytes), ("texts", Text)],
    },
    Table {
        name: "checkpoints",
        key: 1,
        columns: &[("size", Number), ("root", Bytes), ("note", Text), ("signed_at", Number)],
    },
    Table {
        name: "cosignatures",
        key: 2,
        columns: &[("size", Number), ("witness", Text), ("line", Text), ("cosigned_at", Number)],
    },
];

/// What triggers make of requests.
const GROUPS: &str = "\
    INSERT INTO request_groups (name, request_id) \
    SELECT DISTINCT value, r.id FROM requests r, json_array_elements_text(r.groups::json)";

const ANALYZE: &str =
    "ANALYZE requests, request_groups, decisions, grants, freezes, audit_events, checkpoints";

/// A value on its way.
#[derive(Clone, Debug)]
enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Flag(Option<bool>),
}

/// Copies a database file, which no daemon may have meanwhile, and answers with what was copied. `tell` hears of each table.
///
/// # Errors
///
/// If anything goes wrong. Then the server has nothing of it.
pub async fn copy(from: &Path, to: &Server, tell: impl Fn(&str)) -> Result<Counts, CopyError> {
    // Held until the end.
    let _lock = lock(from)?;
    let mut source = Moment::open(from).await?.connection;
    let mut connection = to.connect().await?;
    migrations::run(&mut connection, Migrate::Yes).await?;
    let begun = connection.begin().await;
    let mut transaction = begun.map_err(failed("begin to copy"))?;
    make_ready(&mut transaction, to).await?;
    let mut counts = Vec::new();
    for table in TABLES {
        tell(&format!("copying {}", table.name));
        counts.push((table.name, copy_table(&mut source, &mut transaction, table).await?));
    }
    let operation = "list requests by their groups";
    sqlx::query(GROUPS).execute(&mut *transaction).await.map_err(failed(operation))?;
    // The server would find out by itself, and go through whole tables until then.
    let counted = sqlx::raw_sql(ANALYZE).execute(&mut *transaction).await;
    counted.map_err(failed("have the server look at what arrived"))?;
    transaction.commit().await.map_err(failed("keep the copy"))?;
    Ok(counts)
}

/// Sees that nothing is there but the digest key, which every start makes, and that no daemon knows that one; the copy brings
/// its own. From then on nobody else reads or writes until the end.
async fn make_ready(transaction: &mut Transaction<'_, Postgres>, to: &Server) -> Result<(), CopyError> {
    let operation = "make the database ready";
    for table in TABLES {
        let off = format!("LOCK TABLE {0}; ALTER TABLE {0} DISABLE TRIGGER USER", table.name);
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(off)).execute(&mut **transaction).await;
        done.map_err(failed(operation))?;
    }
    let there = "SELECT name FROM daemons WHERE until > extract(epoch FROM clock_timestamp()) * 1000 LIMIT 1";
    let daemon =
        sqlx::query_scalar(there).fetch_optional(&mut **transaction).await.map_err(failed(operation))?;
    if let Some(daemon) = daemon {
        return Err(CopyError::InUse { server: to.to_string(), daemon });
    }
    let any = "SELECT EXISTS (SELECT 1 FROM requests) OR EXISTS (SELECT 1 FROM audit_events) \
               OR EXISTS (SELECT 1 FROM freezes)";
    let is_there: bool =
        sqlx::query_scalar(any).fetch_one(&mut **transaction).await.map_err(failed(operation))?;
    if is_there {
        return Err(CopyError::NotEmpty { server: to.to_string() });
    }
    let forget = sqlx::query("DELETE FROM settings").execute(&mut **transaction).await;
    forget.map(|_| ()).map_err(|error| failed(operation)(error).into())
}

/// Copies a table's rows, and compares what can be read there with what was read here.
async fn copy_table(
    source: &mut SqliteConnection,
    target: &mut Transaction<'_, Postgres>,
    table: &'static Table,
) -> Result<u64, CopyError> {
    let (mut sent, mut count, mut last) = (Sha256::new(), 0, None);
    loop {
        let page = read_here(source, table, last.as_deref()).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.get(..table.key).unwrap_or_default().to_vec());
        count += page.len() as u64;
        page.iter().flatten().for_each(|value| value.put(&mut sent));
        write_there(target, table, page).await?;
    }
    let on = format!("ALTER TABLE {} ENABLE TRIGGER USER", table.name);
    let done = sqlx::query(sqlx::AssertSqlSafe(on)).execute(&mut **target).await;
    done.map_err(failed("put the triggers back"))?;
    let (mut arrived, mut last) = (Sha256::new(), None);
    loop {
        let page = read_there(target, table, last.as_deref()).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.get(..table.key).unwrap_or_default().to_vec());
        page.iter().flatten().for_each(|value| value.put(&mut arrived));
    }
    let is_same = sent.finalize() == arrived.finalize();
    if is_same { Ok(count) } else { Err(CopyError::Differs { table: table.name }) }
}

/// The rows behind a place, in the order of their keys.
fn select(table: &Table, after: Option<&[Value]>) -> String {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let (columns, key) = (names.join(", "), names.get(..table.key).unwrap_or_default().join(", "));
    let places: Vec<String> = (1..=table.key).map(|number| format!("${number}")).collect();
    let behind = after.map_or_else(String::new, |_| format!(" WHERE ({key}) > ({})", places.join(", ")));
    format!("SELECT {columns} FROM {}{behind} ORDER BY {key} LIMIT {PAGE}", table.name)
}

/// One page of rows out of either database.
macro_rules! read {
    ($connection:expr, $table:expr, $after:expr) => {{
        let mut query = sqlx::query(sqlx::AssertSqlSafe(select($table, $after)));
        for value in $after.unwrap_or_default() {
            query = match value.clone() {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
                Value::Bytes(bytes) => query.bind(bytes),
                Value::Flag(flag) => query.bind(flag),
            };
        }
        let rows = query.fetch_all($connection).await.map_err(failed("read rows to copy"))?;
        let mut page = Vec::with_capacity(rows.len());
        for row in rows {
            let mut values = Vec::with_capacity($table.columns.len());
            for (index, (_, kind)) in $table.columns.iter().enumerate() {
                let value = match kind {
                    Text => row.try_get(index).map(Value::Text),
                    Number => row.try_get(index).map(Value::Number),
                    Bytes => row.try_get(index).map(Value::Bytes),
                    Flag => row.try_get(index).map(Value::Flag),
                };
                values.push(value.map_err(failed("read rows to copy"))?);
            }
            page.push(values);
        }
        Ok(page)
    }};
}

async fn read_here(
    source: &mut SqliteConnection,
    table: &Table,
    after: Option<&[Value]>,
) -> Result<Vec<Vec<Value>>, StoreError> {
    read!(source, table, after)
}

async fn read_there(
    target: &mut PgConnection,
    table: &Table,
    after: Option<&[Value]>,
) -> Result<Vec<Vec<Value>>, StoreError> {
    read!(target, table, after)
}

async fn write_there(
    target: &mut PgConnection,
    table: &Table,
    page: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let mut insert =
        QueryBuilder::<Postgres>::new(format!("INSERT INTO {} ({}) ", table.name, columns.join(", ")));
    insert.push_values(page, |mut row, values| {
        for value in values {
            match value {
                Value::Text(text) => row.push_bind(text),
                Value::Number(number) => row.push_bind(number),
                Value::Bytes(bytes) => row.push_bind(bytes),
                Value::Flag(flag) => row.push_bind(flag),
            };
        }
    });
    insert.build().execute(target).await.map(|_| ()).map_err(failed("write rows to copy"))
}

impl Value {
    /// Puts it to a digest, so that no two rows are the same to it that aren't.
    fn put(&self, digest: &mut Sha256) {
        let bytes: Option<Vec<u8>> = match self {
            Self::Text(text) => text.as_ref().map(|text| text.clone().into_bytes()),
            Self::Number(number) => number.map(|number| number.to_be_bytes().to_vec()),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Flag(flag) => flag.map(|flag| vec![u8::from(flag)]),
        };
        match bytes {
            None => digest.update([0]),
            Some(bytes) => {
                digest.update([1]);
                digest.update((bytes.len() as u64).to_be_bytes());
                digest.update(bytes);
            }
        }
    }
}
