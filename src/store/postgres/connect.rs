//! Where the server is, and connections to it that keep what they promise: what a session was told at its start is read back
//! before it is used.

use std::{fmt, fs, net::IpAddr, path::Path, str::FromStr as _, time::Duration};

use sqlx::{
    ConnectOptions as _, Pool, Postgres,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgSslMode},
};
use tokio::time::timeout;
use url::Url;

use super::sql::pen::Pen;
use crate::store::{OpenError, reads::Kind};

/// The first version that is supported (`server_version_num`).
const VERSION_MIN: i32 = 140_000;

/// PostgreSQL's, as the IANA has it.
const PORT: u16 = 5432;

/// How long a server may take to let somebody in.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What each session is told, and what is read back.
const SETTINGS: [(&str, &str); 5] = [
    // A commit is on the disk before it is answered, and on the standbys that the server waits for.
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    // A daemon that was stopped in the middle of a transaction keeps the others waiting no longer than this.
    ("idle_in_transaction_session_timeout", "5s"),
    ("lock_timeout", "4s"),
    ("client_min_messages", "warning"),
];

/// What a session is told that reads and writes some rows along an index, and never whole tables. How many there are, the server
/// doesn't know of tables that have just begun to grow; and it doesn't know that of an ordered list only the beginning is wanted.
/// Not read back: where a pooler passes over it, answers take longer and are the same.
const ALONG_INDEXES: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
     SET enable_hashagg = off; SET jit = off";

/// Where a database is, and as whom to log in there: `postgres://user@host[:port]/database[?sslmode=…&sslrootcert=…]`. A host
/// that starts with a slash (`%2Frun%2Fpostgresql`) is the directory of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it isn't such a URL, or the way to the server isn't safe. The error completes a sentence about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text)
            .map_err(|_| "must be a URL, like \"postgres://hallpass@db.example.com/hallpass\"")?;
        check(&url)?;
        let options =
            options(&url).map_err(|_| "has an sslmode that isn't one, or escapes what isn't UTF-8")?;
        let address = Self(url);
        if !address.is_local() && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
            return Err(
                "goes over the network, so it must end in ?sslmode=verify-full, with sslrootcert=FILE for a \
                        certification authority of your own",
            );
        }
        Ok(address)
    }

    /// Whether the way to the server is inside this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        // A slash begins the directory of a socket.
        host == "localhost"
            || host.to_ascii_lowercase().starts_with("%2f")
            || address.is_ok_and(|ip| ip.is_loopback())
    }
}

/// For people: without the parameters.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        shown.set_query(None);
        shown.fmt(f)
    }
}

/// A database on a server, and what it takes to log in there.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    address: Address,
}

/// Without the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.address).finish()
    }
}

/// For people.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Server {
    /// Puts the password to the address; none has the server let the user in otherwise.
    ///
    /// # Errors
    ///
    /// If the password can't be read.
    pub fn new(address: Address, password_file: Option<&Path>) -> Result<Self, OpenError> {
        let options = options(&address.0).map_err(OpenError::database("read the database's address"))?;
        let password = password_file.map(password).transpose()?.unwrap_or_default();
        let options = options
            .password(&password)
            .application_name("hallpassd")
            .options(SETTINGS)
            .disable_statement_logging();
        Ok(Self { options, address })
    }

    /// Opens one connection, and sees that it may be relied on.
    pub(in crate::store) async fn connect(&self) -> Result<PgConnection, OpenError> {
        let connect = timeout(CONNECT_MAX, self.options.connect()).await;
        let connect = connect.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into())));
        let mut connection = connect.map_err(OpenError::database("connect to the database"))?;
        check_session(&mut connection).await?;
        Ok(connection)
    }
}

/// Makes a connection the one that writes.
pub(in crate::store) async fn pen(mut connection: PgConnection) -> Result<Pen, OpenError> {
    let told = sqlx::raw_sql(ALONG_INDEXES).execute(&mut connection).await;
    told.map_err(OpenError::database("prepare a session for writing"))?;
    Pen::of(connection).await
}

/// What sqlx reads from a URL, without what it fills in from the environment (`PGPORT`, `PGSSLMODE`) where the URL is silent.
fn options(url: &Url) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.as_str())?.port(url.port().unwrap_or(PORT));
    let names_mode = url.query_pairs().any(|(name, _)| name == "sslmode");
    Ok(if names_mode { options } else { options.ssl_mode(PgSslMode::Prefer) })
}

/// What a URL may say, since sqlx takes more.
fn check(url: &Url) -> Result<(), &'static str> {
    const MAY: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
    let problem = if !matches!(url.scheme(), "postgres" | "postgresql") {
        "must begin with postgres://"
    } else if url.password().is_some() {
        "must not have the password in it; put that in a file of mode 0600, and its path in store.password_file"
    } else if url.username().is_empty() {
        "must say as whom to log in, like postgres://hallpass@db.example.com/hallpass"
    } else if url.host().is_none() {
        "must name the server's host"
    } else if url.path().len() < 2 || url.path()[1..].contains('/') {
        "must name one database behind the host, like postgres://hallpass@db.example.com/hallpass"
    } else if url.query_pairs().any(|(name, _)| !MAY.contains(&name.as_ref())) {
        "may have sslmode, sslrootcert, sslcert and sslkey as its parameters only"
    } else {
        return Ok(());
    };
    Err(problem)
}

fn password(file: &Path) -> Result<String, OpenError> {
    let text =
        fs::read_to_string(file).map_err(|source| OpenError::Password { file: file.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Opens connections that read. Who waits for one for longer than a read may take gets none. What the server keeps in memory is
/// the server's own matter.
pub(in crate::store) async fn readers(server: &Server, kind: Kind) -> Result<Pool<Postgres>, OpenError> {
    let failed = OpenError::database("connect to the database for reading");
    PgPoolOptions::new()
        .min_connections(1)
        .max_connections(kind.count)
        .acquire_timeout(kind.answer_max)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if !kind.reads_all {
                    sqlx::raw_sql(ALONG_INDEXES).execute(&mut *connection).await?;
                }
                check_session(connection).await.map_err(|error| sqlx::Error::Configuration(Box::new(error)))
            })
        })
        .connect_with(server.options.clone())
        .await
        .map_err(failed)
}

/// Reads back what a session was told: a pooler between here and the server may pass over it.
async fn check_session(connection: &mut PgConnection) -> Result<(), OpenError> {
    let failed = OpenError::database("read a setting back");
    let select = "SELECT name, current_setting(name) FROM unnest($1) AS name";
    let names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).chain(["server_encoding"]).collect();
    let read = sqlx::query_as(select).bind(names).fetch_all(&mut *connection).await;
    let read: Vec<(String, String)> = read.map_err(&failed)?;
    for (name, expected) in SETTINGS.into_iter().chain([("server_encoding", "UTF8")]) {
        let found = read.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        if found != Some(expected) {
            let found = found.unwrap_or_default().to_owned();
            return Err(OpenError::Session { name, expected, found });
        }
    }
    let version = "SELECT current_setting('server_version_num')::int, current_setting('server_version')";
    let (number, found): (i32, String) =
        sqlx::query_as(version).fetch_one(connection).await.map_err(failed)?;
    if number < VERSION_MIN { Err(OpenError::PostgresTooOld { found }) } else { Ok(()) }
}
