//! The granted servers of a plugin, and a pool of connections for each.
//!
//! A call leases a connection exclusively, so that its answers can be limited in size and never mix with those of another
//! call. A connection returns to the pool after a completed call; after a failed or cancelled call it is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisError as ClientError, Value,
};
use reflow_tracing_storage::StorageError;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::prefix::Prefix;
use super::reply;
use super::stream::{Meter, Metered};
use crate::capabilities::connections::{ConnectionBudget, ConnectionPermit, TooManyConnections};
use crate::capabilities::tls;
use crate::contract::bindings::reflow::capabilities::redis::RedisError;
use crate::policy::{PluginConfig, RedisGrant};

/// Maximum time to connect, and to answer the check of an idle connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was idle for longer is checked before use, because the server may have vanished without closing it.
const CHECK_AFTER_IDLE: Duration = Duration::from_secs(1);
/// Maximum bytes that a server may send during connection setup.
const SETUP_BYTES: usize = 64 * 1024;

/// The servers of a plugin, by label. All of its instances share them.
pub(crate) struct Servers {
    by_label: BTreeMap<String, Arc<Server>>,
}

/// A server that was granted.
pub(super) struct Server {
    /// The setting of the grant, for messages.
    setting: String,
    info: ConnectionInfo,
    tls: TlsConnector,
    pub prefix: Prefix,
    /// Whether the plugin may run scripts.
    pub scripts: bool,
    budget: ConnectionBudget,
    max_reply_bytes: usize,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    link: Link,
    since: Instant,
}

/// A connection to a server.
struct Link {
    connection: MultiplexedConnection,
    meter: Arc<Meter>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Nothing reads further answers.
        self.driver.abort();
    }
}

impl Servers {
    /// The servers granted to `plugin`. Does not connect yet.
    pub(crate) fn new(plugin: &str, config: &PluginConfig, budget: &ConnectionBudget) -> Result<Self, StorageError> {
        let server = |(label, grant): (&String, &RedisGrant)| {
            let setting = format!("plugins.{plugin}.grants.redis.{label}");
            let refuse = |problem| StorageError::Configuration(format!("{setting}: {problem}"));
            let info = connection_info(&grant.url).map_err(refuse)?;
            if grant.ca.is_some() && !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
                return Err(refuse("`ca` needs TLS: write rediss://..".into()));
            }
            let tls = tls::connector(grant.ca.as_deref()).map_err(refuse)?;
            let server = Server {
                setting,
                info,
                tls,
                prefix: Prefix::new(&grant.prefix),
                scripts: grant.scripts,
                budget: budget.clone(),
                max_reply_bytes: config.limits.result_bytes(),
                idle: Mutex::default(),
            };
            Ok((label.clone(), Arc::new(server)))
        };
        Ok(Self { by_label: config.grants.redis.iter().map(server).collect::<Result<_, StorageError>>()? })
    }

    pub(super) fn get(&self, label: &str) -> Option<Arc<Server>> {
        self.by_label.get(label).cloned()
    }
}

/// Parses the URL of a grant. Its errors never show the URL, which may contain a password.
fn connection_info(url: &str) -> Result<ConnectionInfo, String> {
    const FORMS: &str = "write redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss://.. for TLS, or redis+unix:///PATH";
    let info = url.into_connection_info().map_err(|error| match error.detail() {
        Some(detail) if !detail.contains(url) => format!("not a valid address of a Redis server ({error}); {FORMS}"),
        _ => format!("not a valid address of a Redis server; {FORMS}"),
    })?;
    match info.addr() {
        ConnectionAddr::Tcp(..) => {}
        ConnectionAddr::TcpTls { insecure: false, .. } => {}
        ConnectionAddr::TcpTls { .. } => {
            return Err("`#insecure` is not supported: certificates are always verified".into());
        }
        ConnectionAddr::Unix(_) if cfg!(unix) => {}
        _ => return Err(format!("this host does not support that kind of address; {FORMS}")),
    }
    // Every reply type of RESP2 is in the contract; RESP3 has more.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    Ok(info.set_redis_settings(settings))
}

impl Server {
    /// A connection for one call.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, RedisError> {
        let permit = self.budget.acquire().await.map_err(|TooManyConnections| RedisError::PoolExhausted)?;
        while let Some(Idle { link, since }) = self.take_idle() {
            link.meter.allow(SETUP_BYTES);
            if !link.meter.closed() && (since.elapsed() < CHECK_AFTER_IDLE || link.is_alive().await) {
                return Ok(Lease::new(self, link, permit));
            }
        }
        Ok(Lease::new(self, self.connect().await?, permit))
    }

    /// The setting of the grant, for messages.
    pub(super) fn setting(&self) -> &str {
        &self.setting
    }

    fn take_idle(&self) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn connect(&self) -> Result<Link, RedisError> {
        let meter = Arc::new(Meter::default());
        meter.allow(SETUP_BYTES);
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connecting = async {
            let stream = Metered::connect(self.info.addr(), &self.tls, Arc::clone(&meter)).await?;
            MultiplexedConnection::new_with_config(self.info.redis_settings(), stream, config).await
        };
        let connected = timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| {
            RedisError::ConnectionLost(format!("{}: no answer within {} s", self.setting, CONNECT_TIMEOUT.as_secs()))
        })?;
        let (connection, driver) = connected.map_err(|error| match error.kind() {
            ErrorKind::AuthenticationFailed => RedisError::AccessDenied(self.about(&error)),
            _ if error.code().is_some() => RedisError::Server(self.about(&error)),
            _ => RedisError::ConnectionLost(self.about(&error)),
        })?;
        Ok(Link { connection, meter, driver: tokio::spawn(driver) })
    }

    fn about(&self, error: &ClientError) -> String {
        format!("{}: {error}", self.setting)
    }
}

impl Link {
    async fn is_alive(&self) -> bool {
        let mut connection = self.connection.clone();
        let ping = redis::cmd("PING");
        matches!(timeout(CONNECT_TIMEOUT, connection.send_packed_command(&ping)).await, Ok(Ok(_)))
    }
}

/// A connection leased to one call.
pub(super) struct Lease<'a> {
    server: &'a Server,
    link: Link,
    _permit: ConnectionPermit,
}

impl<'a> Lease<'a> {
    fn new(server: &'a Server, link: Link, permit: ConnectionPermit) -> Self {
        link.meter.allow(server.max_reply_bytes);
        Self { server, link, _permit: permit }
    }

    /// Runs the commands. Returns an answer for each; errors of single commands are answers.
    pub(super) async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.link.connection.clone();
        connection.send_packed_commands(commands, 0, commands.len()).await.map_err(|error| self.describe(&error))
    }

    /// Runs one command. The server's refusal is an answer.
    pub(super) async fn run_one(&self, command: Cmd) -> Result<Value, RedisError> {
        let mut commands = Pipeline::new();
        commands.add_command(command);
        let mut replies = self.run(&commands).await?;
        replies.pop().ok_or_else(|| RedisError::Other("the server did not answer".into()))
    }

    /// Runs the commands. Fails with the first error if the server refuses one. Resets the limit on the size of answers.
    pub(super) async fn run_all(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let values = self.run(commands).await?;
        self.link.meter.allow(self.server.max_reply_bytes);
        match reply::first_refusal(&values) {
            Some(refusal) => Err(refusal),
            None => Ok(values),
        }
    }

    /// Returns the connection to the pool. All answers must have arrived.
    pub(super) fn give_back(self) {
        let Self { server, link, .. } = self;
        let mut idle = server.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < server.budget.limit() {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    fn describe(&self, error: &ClientError) -> RedisError {
        if self.link.meter.exceeded() {
            return RedisError::LimitExceeded(format!(
                "the answer has more than {} bytes: request less at a time, or raise limits.result_mb",
                self.server.max_reply_bytes
            ));
        }
        match error.kind() {
            ErrorKind::Io => RedisError::ConnectionLost(self.server.about(error)),
            _ => RedisError::Other(self.server.about(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_a_grant_does_not_widen_it() {
        let read = serde_json::from_value::<RedisGrant>;
        assert_eq!(read("redis://h".into()).unwrap().prefix, "");
        assert_eq!(read(serde_json::json!({"url": "redis://h", "prefix": "p:"})).unwrap().prefix, "p:");
        let error = read(serde_json::json!({"url": "redis://h", "prefx": "p:"})).unwrap_err();
        assert!(error.to_string().contains("`prefix`"), "{error}");
    }

    #[test]
    fn an_invalid_address_is_refused_without_showing_it() {
        for url in [
            "http://me:secret@x",
            "secret",
            "redis://me:secret@host:port",
            "redis://:secret@h/x",
            "rediss://:secret@h/#insecure",
        ] {
            let problem = connection_info(url).unwrap_err();
            assert!(!problem.contains("secret"), "{url}: {problem}");
        }
        for url in ["redis://127.0.0.1:6379/0", "rediss://:secret@host", "redis+unix:///tmp/redis.sock?db=1"] {
            connection_info(url).unwrap();
        }
    }
}
