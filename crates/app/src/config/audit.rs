//! `[audit]` of `stet.toml`: where the audit trail is shipped to.

use std::path::PathBuf;

use serde::Deserialize;

/// The node's audit trail.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The file to which a running node also writes the trail, one JSON object on a line; relative to the node's folder
    /// unless it is absolute.
    pub file: Option<PathBuf>,
    /// The receiver to which it sends the trail as syslog.
    pub syslog: Option<SyslogTarget>,
}

/// A receiver of syslog messages (RFC 5424).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SyslogTarget {
    /// A datagram socket of this machine, such as `/dev/log`.
    Unix(PathBuf),
    /// Datagrams to a host and port (RFC 5426). What is lost on its way is lost.
    Udp(String),
    /// A connection to a host and port, with the length before each message (RFC 6587, section 3.4.1).
    Tcp(String),
}

impl TryFrom<String> for SyslogTarget {
    type Error = &'static str;

    fn try_from(text: String) -> Result<SyslogTarget, &'static str> {
        if text.starts_with('/') {
            return Ok(SyslogTarget::Unix(text.into()));
        }
        let host_and_port = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            let right = !host.is_empty()
                && !host.contains(|letter: char| letter.is_whitespace() || letter == '/' || letter == '@')
                && port.parse::<u16>().is_ok_and(|port| port > 0);
            right.then(|| text.to_owned())
        };
        let target = match text.split_once("://") {
            Some(("udp", rest)) => host_and_port(rest).map(SyslogTarget::Udp),
            Some(("tcp", rest)) => host_and_port(rest).map(SyslogTarget::Tcp),
            _ => None,
        };
        target.ok_or("`syslog` is a socket such as /dev/log, or udp://HOST:PORT, or tcp://HOST:PORT")
    }
}

impl std::fmt::Display for SyslogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SyslogTarget::Unix(path) => write!(f, "{}", path.display()),
            SyslogTarget::Udp(address) => write!(f, "udp://{address}"),
            SyslogTarget::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_a_socket_or_a_host_with_a_port() {
        for text in ["/dev/log", "udp://logs.example.org:514", "tcp://[::1]:601"] {
            assert_eq!(SyslogTarget::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for text in
            ["", "dev/log", "udp://", "udp://host", "tcp://host:0", "tcp://host:99999", "tcp://a b:1", "tls://h:1"]
        {
            assert!(SyslogTarget::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
