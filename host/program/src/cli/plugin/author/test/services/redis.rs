use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// A Redis server in a temporary folder, which keeps everything in memory. It ends with its value.
///
/// It listens on a socket in that folder, and not on a port: no other user can connect, and no other program can take the port.
pub(in super::super) struct RedisServer {
    process: Child,
    folder: TempDir,
}

const GRANT: &str =
    "name a server with --grant 'redis.default={ url = \"redis://127.0.0.1\", prefix = \"{random}:\" }'";
const LOG: &str = "redis.log";
const SOCKET: &str = "redis.sock";
/// Much longer than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

impl RedisServer {
    pub(in super::super) async fn start() -> anyhow::Result<Self> {
        if !cfg!(unix) {
            bail!("the plugin may use `redis`: on this system, {GRANT}");
        }
        let folder = tempfile::tempdir().context("can't create a temporary folder")?;
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", SOCKET, "--logfile", LOG])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => anyhow::anyhow!(
                    "the plugin may use `redis`, but redis-server is not on the PATH. Install it with\n  \
                     apt-get install redis-server    (Debian, Ubuntu)\n  brew install redis    (macOS)\nor {GRANT}"
                ),
                _ => anyhow::Error::new(error).context("can't start redis-server"),
            })?;
        let mut server = Self { process, folder };
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// The URL for a grant.
    pub(in super::super) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !self.answers().await {
            let ended = self.process.try_wait().context("can't wait for redis-server")?;
            if ended.is_some() || begin.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
                let what = ended.map_or_else(|| "does not answer".into(), |status| format!("ended with {status}"));
                bail!("redis-server {what}; its log:\n{}", log.trim_end());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    #[cfg(unix)]
    async fn answers(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let ping = async {
            let mut stream = tokio::net::UnixStream::connect(self.socket()).await?;
            stream.write_all(b"PING\r\n").await?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).await?;
            io::Result::Ok(answer == *b"+PONG")
        };
        tokio::time::timeout(PATIENCE, ping).await.is_ok_and(|answer| answer.unwrap_or(false))
    }

    #[cfg(not(unix))]
    async fn answers(&self) -> bool {
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_answers_and_ends_with_its_value() {
        let server = RedisServer::start().await.unwrap();
        let (url, socket) = (server.url(), server.socket());
        assert_eq!(url, format!("redis+unix://{}", socket.display()));
        assert!(server.answers().await);
        drop(server);
        assert!(!socket.parent().unwrap().exists());
    }
}
